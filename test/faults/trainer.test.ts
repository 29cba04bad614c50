/** Rows 1 to 4: trainers that are killed, paused and told to go. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { settle } from '../support/faults/check.ts';
import { chanceOf, tell, times } from '../support/faults/report.ts';
import {
  alive,
  childrenOf,
  createProject,
  type System,
  startSystem,
  type Trainer,
  until,
  wait,
} from '../support/faults/system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem(chanceOf(0));
});
afterAll(() => system?.stop());

const running = (id?: string) =>
  system.postgres.sql<{ id: string; attempt: number; state: string }[]>`
    select id, attempt, state from runs where ${id ? system.postgres.sql`id = ${id}` : system.postgres.sql`state = 'running'`}`;
/** The trainer that logged that it took this run. */
const workerOf = (run: string): Trainer | undefined =>
  [...system.trainers].find(({ lines }) => lines.some((line) => line.includes(run)));
const endAll = async () => {
  const all = [...system.trainers];
  for (const { process } of all) process.kill('SIGKILL');
  await Promise.all(all.map(({ ended }) => ended));
};

test('1: trainers killed at random moments lose nothing and do nothing twice', { timeout: 900_000 }, async () => {
  const chance = chanceOf(1);
  const kills = times(3, 50);
  const pair = [system.trainer(), system.trainer()];
  await Promise.all(pair.map(({ ready }) => ready));
  let longest = 0;
  let lastKill = 0;
  const takeovers: Promise<void>[] = [];
  let hit = 0;
  for (let kill = 0; kill < kills; kill++) {
    await createProject(system, { name: `Killed ${kill}` });
    // Uploads settle for a second, then train for some: a moment of all that.
    await wait(chance() * 4);
    const under = await running();
    // One that is at work, where there is one.
    const drawn = pair[Math.floor(chance() * 2)]!;
    const victim = under.map(({ id }) => workerOf(id)).find((worker) => worker && pair.includes(worker)) ?? drawn;
    const lost = under.find(({ id }) => workerOf(id) === victim);
    victim.process.kill('SIGKILL');
    lastKill = performance.now();
    pair[pair.indexOf(victim)] = system.trainer();
    if (!lost) continue;
    hit++;
    takeovers.push(
      (async () => {
        await until(async () => {
          const [now] = await running(lost.id);
          return now!.attempt > lost.attempt || now!.state === 'succeeded';
        }, 90);
        // A successor that was killed too cannot have taken it over: the time counts from the last death.
        longest = Math.max(longest, (performance.now() - lastKill) / 1000);
      })(),
    );
  }
  await Promise.all(takeovers);
  await settle(system, 180);
  // The lease of this system is 6 s where the default is 20: what is above it must not be more than 10 s.
  tell(
    1,
    'kill -9 of one of two trainers',
    `${kills} (${hit} in a run)`,
    `0 differences, taken over in ${longest.toFixed(1)} s`,
    '0, <= 6 s lease + 10 s',
  );
  expect(longest).toBeLessThan(16);
  await endAll();
});

test('2: a worker that was paused past its lease publishes nothing', { timeout: 900_000 }, async () => {
  const own = { LEASE_SECONDS: '2' };
  const pair = [system.trainer(own), system.trainer(own)];
  await Promise.all(pair.map(({ ready }) => ready));
  const pauses = times(1, 30);
  let paused = 0;
  let stale = 0;
  for (let tries = 0; paused < pauses && tries < 2 * pauses; tries++) {
    const { id } = await createProject(system, { name: 'Paused' });
    await until(async () => (await running()).some(({ id: run }) => workerOf(run)), 30, 'a run');
    const [run] = await running();
    const worker = run && workerOf(run.id);
    if (!worker) continue;
    worker.process.kill('SIGSTOP');
    // It may have ended in between.
    const [before] = await running(run.id);
    if (before!.state !== 'running') {
      worker.process.kill('SIGCONT');
      continue;
    }
    paused++;
    await until(async () => (await running(run.id))[0]!.attempt > run.attempt, 60, 'taken over');
    worker.process.kill('SIGCONT');
    await until(async () => (await running(run.id))[0]!.state === 'succeeded', 60, 'succeeded');
    const models = await system.postgres.sql<{ attempt: number }[]>`
      select attempt from models where project_id = ${id} and run_id = ${run.id} and published_at is not null`;
    stale += models.filter(({ attempt }) => attempt === run.attempt).length + models.length - 1;
  }
  await settle(system, 120);
  tell(2, 'SIGSTOP past the lease, then SIGCONT', paused, `${stale} stale writes`, '0');
  expect([paused, stale]).toEqual([pauses, 0]);
  await endAll();
});

test('3 and 4: on SIGTERM it finishes or hands over; its children die with it', { timeout: 900_000 }, async () => {
  let slowest = 0;
  let orphans = 0;
  const repeats = times(2, 10);
  for (let turn = 0; turn < repeats; turn++) {
    // Every other one gets no time to finish.
    const trainer = system.trainer({ DRAIN_SECONDS: turn % 2 ? '20' : '1' });
    await trainer.ready;
    await createProject(system, { name: 'Stopped' });
    await until(async () => (await running()).length > 0, 60, 'a run');
    trainer.process.kill('SIGTERM');
    const at = Date.now();
    slowest = Math.max(slowest, ((await trainer.ended) - at) / 1000);
    expect(trainer.process.exitCode).toBe(0);
    expect(await running()).toEqual([]);
  }
  tell(3, 'SIGTERM in mid-training', repeats, `exit in ${slowest.toFixed(1)} s`, '<= 25 s');
  expect(slowest).toBeLessThan(25);

  for (let turn = 0; turn < repeats; turn++) {
    const trainer = system.trainer();
    await trainer.ready;
    await createProject(system, { name: 'Orphans' });
    await until(async () => (await running()).length > 0, 60, 'a run');
    const children = childrenOf(trainer.pid);
    expect(children.length).toBeGreaterThanOrEqual(2);
    trainer.process.kill('SIGKILL');
    await trainer.ended;
    const seconds = await until(() => children.every((pid) => !alive(pid)), 20, 'children end');
    orphans = Math.max(orphans, seconds);
  }
  tell(4, 'kill -9 of the worker in mid-training', repeats, `children gone in ${orphans.toFixed(1)} s`, '<= 2 s');
  expect(orphans).toBeLessThanOrEqual(2);
  const last = system.trainer();
  await last.ready;
  await settle(system, 120);
  await endAll();
});
