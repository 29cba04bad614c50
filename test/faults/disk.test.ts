/**
 * Row 10: a disk that is full under the trainer's scratch. Its own mount namespace gives the trainer a small one.
 *
 * Seen to fail: with the trainer that took a full disk for the fault of what it was at (4 failures of runs in the short form).
 */
import { spawnSync } from 'node:child_process';
import { type FileHandle, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { deadLetters, settle } from '../support/faults/check.ts';
import { chanceOf, tell, times } from '../support/faults/report.ts';
import { createProject, type System, startSystem, type Trainer, until, wait } from '../support/faults/system.ts';

/** What root may do, or any user where user namespaces are allowed; it goes with the trainer, however that ends. */
const apart = ['unshare', process.getuid?.() === 0 ? '-m' : '-Urm', 'sh', '-c'];
const onDisk = (folder: string) => [...apart, `mount -t tmpfs -o size=160m none ${folder} && exec "$@"`, 'sh'];

let scratch: string;
let possible: boolean;
let system: System;
let trainer: Trainer;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'ai-teacher-disk-'));
  const [program, ...args] = onDisk(scratch);
  possible = spawnSync(program!, [...args, 'true']).status === 0;
  if (!possible) return;
  system = await startSystem(chanceOf(10));
  trainer = system.trainer({ SCRATCH: scratch }, onDisk(scratch));
  await trainer.ready;
});
afterAll(async () => {
  await system?.stop();
  await rm(scratch, { recursive: true, force: true });
});

/** The trainer's own folder as it sees it. */
const inside = (...names: string[]) =>
  join(`/proc/${trainer.pid}/root`, scratch, `ai-teacher-${hostname()}-${trainer.pid}`, ...names);

/** Fills the disk to its last byte and keeps it full, whatever is deleted, until what it gives is called. */
async function fill(): Promise<() => Promise<void>> {
  const file = await open(inside('filler'), 'w');
  await takeAll(file);
  let full = true;
  const keeping = (async () => {
    while (full) {
      await wait(0.02);
      await takeAll(file);
    }
  })();
  return async () => {
    full = false;
    await keeping;
    await file.close();
    await rm(inside('filler'));
  };
}

async function takeAll(file: FileHandle): Promise<void> {
  for (const bytes of [2 ** 22, 2 ** 16, 2 ** 12]) {
    for (const zeros = Buffer.alloc(bytes); ; ) {
      const written = await file.write(zeros).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOSPC') throw error;
        return { bytesWritten: 0 };
      });
      if (written.bytesWritten < bytes) break;
    }
  }
}

/** Resolves when the folder of a run has an entry of this name. */
const untilRunHas = (name: string) =>
  until(
    async () => {
      for (const run of (await readdir(inside())).filter((one) => one.startsWith('run-'))) {
        if ((await readdir(inside(run)).catch(() => [] as string[])).includes(name)) return true;
      }
      return false;
    },
    60,
    `a run with ${name}`,
  );

test('10: a full disk loses no picture, no run and no message, and blames none', {
  timeout: 900_000,
}, async (given) => {
  if (!possible) {
    tell(10, 'disk full under the scratch', 0, 'not shown: this user may mount nothing', '0 corrupt');
    return given.skip();
  }
  const chance = chanceOf(10);
  const fillings = times(3, 5);
  let longest = 0;
  for (let filling = 0; filling < fillings; filling++) {
    const full = filling === 0 ? await fill() : undefined;
    await createProject(system, { name: `Full ${filling}` });
    // The first one hits pictures, the second a model's files, the others a random moment of all that.
    if (filling === 1) await untilRunHas('out');
    else if (filling > 1) await wait(chance() * 4);
    const free = full ?? (await fill());
    // What comes while it is full has to wait too.
    const late = await createProject(system, { name: `Late ${filling}` });
    await wait(2 + chance() * 4);
    expect((await late.project()).status).not.toBe('ready');
    await free();
    const freed = performance.now();
    await late.until(({ status }) => status === 'ready', 120);
    longest = Math.max(longest, (performance.now() - freed) / 1000);
  }
  await settle(system, 180);
  const { sql } = system.postgres;
  const [wrong] = await sql<{ rejected: number; failures: number; projects: number }[]>`select
    (select count(*)::int from images where state <> 'ready') as rejected,
    (select coalesce(sum(failures), 0)::int from runs) as failures,
    (select count(*)::int from projects where current_model_id is null) as projects`;
  const dead = await deadLetters(system);
  const said = trainer.lines
    .join('')
    .split('\n')
    .filter((line) => line.includes(`MiB of room under SCRATCH (${scratch}/`) && line.includes('message waits'));
  const pictures = said.filter((line) => line.includes('ObjectCreated')).length;
  tell(
    10,
    'disk full under the scratch, in ingest and in training',
    `${fillings} (${pictures} events and ${said.length - pictures} trainings waited)`,
    `0 differences, ${wrong!.rejected} rejected, ${wrong!.failures} failures, ${dead} dead letters, ready ${longest.toFixed(0)} s after`,
    '0 corrupt',
  );
  expect({ ...wrong!, dead }).toEqual({ rejected: 0, failures: 0, projects: 0, dead: 0 });
  expect(pictures).toBeGreaterThan(0);
  expect(said.length - pictures).toBeGreaterThan(0);
});
