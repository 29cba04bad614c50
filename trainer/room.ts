/**
 * Room under SCRATCH. A disk that is full is the trouble of the worker that has it, not of the picture or the run that it was
 * at: those wait, for this worker to have room again or for another one.
 */
import { statfs } from 'node:fs/promises';
import { Outage } from './consume.ts';

/** With less than this, a few photos or the files of a model, work is not begun again once some has failed. */
const leastRoom = 128 * 2 ** 20;

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
 * What to throw for a failure: itself, or an {@link Outage} where there is no room. To be asked when the files of the work that
 * failed are gone: if there is room then, it wanted more than there is, and is to blame itself.
 */
export async function blameRoom(folder: string, error: unknown): Promise<unknown> {
  try {
    await checkRoom(folder);
    return error;
  } catch (outage) {
    return Object.assign(outage as Error, { cause: error });
  }
}
