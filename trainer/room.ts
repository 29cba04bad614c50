/**
 * SCRATCH: a trainer's own folder there, and whether it has room. A disk that is full is the trouble of the worker that has it,
 * not of the picture or the run that it was at: those wait, for this worker to have room again or for another one.
 */
import { mkdir, readdir, rm, statfs } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Outage } from './consume.ts';

/** With less than this, a few photos or the files of a model, work is not begun again once some has failed. */
const leastRoom = 128 * 2 ** 20;

/**
 * Makes a folder of this process's own under `folder`, and removes those of trainers that are no more: one that is killed
 * leaves its pictures behind, and a container that is started again finds the same disk. Other hosts' are theirs: pods may
 * share a disk.
 */
export async function takeFolder(folder: string): Promise<string> {
  const nameOf = (pid: number | string) => `ai-teacher-${hostname()}-${pid}`;
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(folder)) {
    const pid = Number(name.slice(nameOf('').length));
    if (name !== nameOf(pid)) continue;
    // In a container that is started again it is even this one's.
    if (pid === process.pid || !isAlive(pid)) await rm(join(folder, name), { recursive: true, force: true });
  }
  const own = join(folder, nameOf(process.pid));
  await mkdir(own);
  return own;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Somebody else's process is one too.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** @throws Outage when there is no room under `folder`. */
export async function checkRoom(folder: string): Promise<void> {
  const { bavail, bsize, files, ffree } = await statfs(folder);
  const room = bavail * bsize;
  const free = `${Math.floor(room / 2 ** 20)} MiB${files > 0 && ffree === 0 ? ' and no file' : ''}`;
  if (room >= leastRoom && !(files > 0 && ffree === 0)) return;
  throw new Outage(
    `Expected ${leastRoom / 2 ** 20} MiB of room under SCRATCH (${folder}), there are ${free}: make room there, or give it a larger disk.`,
  );
}

/**
 * Gives what to throw for a failure: the error itself, or an {@link Outage} when the disk is full. Call it when the files of
 * the failed work are removed: if there is room then, the work itself wanted more than there is.
 */
export async function asOutageIfDiskFull(folder: string, error: unknown): Promise<unknown> {
  try {
    await checkRoom(folder);
    return error;
  } catch (outage) {
    return Object.assign(outage as Error, { cause: error });
  }
}
