/**
 * Rows 1 to 4: trainers that are killed, paused and told to go.
 *
 * Seen to fail: 1 with what is due left due and runs that no index keeps single (two automatic runs of 3 revisions; either
 * alone holds), with leases that never run out and with messages deleted before they are worked on (not taken over within 90
 * s). 2 with writes that do not carry the attempt (1 stale write); with transactions that may stand still for ever (not taken
 * over within 60 s). 3 without a hand-over, with leases that are not given back (a run that still says `running`), and with a
 * consumer that takes on (it does not end within 30 s). 4 with a child that lives on after its stdin (not gone within 20 s).
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { deadLetters, settle } from '../support/faults/check.ts';
import { chanceOf, tell, times } from '../support/faults/report.ts';
import {
  alive,
  childrenOf,
  createProject,
  type System,
  startSystem,
  trainingChildOf,
  until,
  wait,
  workerOf,
} from '../support/faults/system.ts';
import type { Learner } from '../support/learner.ts';

const lease = 4;
let system: System;
beforeAll(async () => {
  const variables = { LEASE_SECONDS: String(lease), RUNS_PER_HOUR: '1000', MISSED_EVENT_SECONDS: '2' };
  system = await startSystem(chanceOf(0), variables);
});
afterAll(() => system?.stop());

const running = (id?: string) =>
  system.postgres.sql<{ id: string; attempt: number; state: string }[]>`
    select id, attempt, state from runs where ${id ? system.postgres.sql`id = ${id}` : system.postgres.sql`state = 'running'`}`;
// Also after one that failed: its trainers are not the next row's.
afterEach(async () => {
  const all = [...system.trainers];
  for (const { process } of all) process.kill('SIGKILL');
  await Promise.all(all.map(({ ended }) => ended));
});

test('1: trainers killed at random moments lose nothing and do nothing twice', { timeout: 900_000 }, async () => {
  const chance = chanceOf(1);
  const kills = times(3, 50);
  const pair = [system.trainer(), system.trainer()];
  await Promise.all(pair.map(({ ready }) => ready));
  let longest = 0;
  let hit = 0;
  for (let kill = 0; kill < kills; kill++) {
    await createProject(system, { name: `Killed ${kill}` });
    // Uploads settle for a second, then train for some: a moment of all that, every third time surely one of a training.
    const training = kill % 3 === 0;
    if (training) await until(async () => (await running()).length > 0, 60, 'a run');
    await wait(chance() * (training ? 1 : 4));
    // A queue gives a message five times: one run is not killed more often than that.
    const under = (await running()).filter(({ attempt }) => attempt < 4);
    // One that is at work, where there is one.
    const drawn = pair[Math.floor(chance() * 2)]!;
    const victim =
      under.map(({ id }) => workerOf(system, id)).find((worker) => worker && pair.includes(worker)) ?? drawn;
    const lost = under.find(({ id }) => workerOf(system, id) === victim);
    victim.process.kill('SIGKILL');
    pair[pair.indexOf(victim)] = system.trainer();
    if (!lost) continue;
    hit++;
    const takenOver = async () => {
      const [now] = await running(lost.id);
      return now!.attempt > lost.attempt || now!.state === 'succeeded';
    };
    longest = Math.max(longest, await until(takenOver, 90, 'taken over'));
  }
  // Pictures of workers that were killed five times with the same event are found by maintain.
  await settle(system, 180, { maintained: true });
  const dead = await deadLetters(system);
  // By default the lease is 20 s: what is above it must not be more than 10 s, or 24 s where other tests have the cores too and
  // a trainer takes longer to start.
  const most = lease + times(24, 10);
  tell(
    1,
    'kill -9 of one of two trainers',
    `${kills} (${hit} in a run)`,
    `0 differences, taken over in ${longest.toFixed(1)} s, ${dead} messages given up and made good`,
    `0, <= ${most} s with a lease of ${lease} s`,
  );
  expect(hit).toBeGreaterThan(0);
  expect(longest).toBeLessThan(most);
});

/** Pauses the worker of a run that was asked for, and wakes it when another has it. @returns the attempt that lost its lease, if any. */
async function pause({ id, call }: Learner, moment: 'beginning' | 'storing' | 'publishing') {
  const { sql } = system.postgres;
  const { id: runId } = await call<{ id: string }>('POST', '/runs');
  const now = async () => (await running(runId))[0]!;
  const workerNow = async () => {
    const { state, attempt } = await now();
    const worker = state === 'running' && workerOf(system, runId, attempt);
    return worker ? { worker, attempt } : undefined;
  };
  await until(async () => (await workerNow()) !== undefined, 60, 'a run');
  const { worker, attempt } = (await workerNow())!;
  const stop = () => worker.process.kill('SIGSTOP');
  if (moment === 'beginning') stop();
  else {
    // It waits for a lock until it is paused: its child has answered by then, and only the attempt is in its way.
    const lock = await sql.reserve();
    try {
      await lock`begin`;
      if (moment === 'storing') await lock`lock table artifacts in share mode`;
      else await lock`select from projects where id = ${id} for no key update`;
      const query = moment === 'storing' ? '%insert into artifacts%' : 'select "revision"%from "projects"%for update';
      const waits = async () => {
        const blocked = await sql`select from pg_stat_activity where wait_event_type = 'Lock' and query like ${query}`;
        if (moment === 'storing') return blocked.length > 0;
        // Other workers wait for the project too: this one has stored its last file, and comes to publish.
        const stored = await sql`select from artifacts join models on models.id = model_id
          where run_id = ${runId} and name = 'report.json'`;
        return blocked.length > 0 && stored.length > 0;
      };
      const over = async () => (await now()).state === 'succeeded';
      await until(async () => (await waits()) || (await over()), 30, `a worker that is ${moment}`);
      // It was quicker than this.
      if (await over()) return undefined;
      if (moment === 'storing') await wait(1);
      stop();
    } finally {
      await lock`rollback`;
      lock.release();
    }
  }
  await until(async () => (await now()).attempt > attempt, 60, 'taken over');
  worker.process.kill('SIGCONT');
  await until(async () => (await now()).state === 'succeeded', 60, 'succeeded');
  return { runId, attempt };
}

test('2: a worker that was paused past its lease publishes nothing', { timeout: 1_200_000 }, async () => {
  const pauses = times(2, 100);
  const atOnce = times(1, 3);
  const workers = Array.from({ length: 2 * atOnce }, () => system.trainer({ LEASE_SECONDS: '2' }));
  await Promise.all(workers.map(({ ready }) => ready));
  const stale: { runId: string; attempt: number }[] = [];
  let turn = 0;
  const pauseSome = async () => {
    const learner = await createProject(system, { name: 'Paused' });
    await learner.until(({ status }) => status === 'ready', 60);
    while (stale.length < pauses) {
      const number = turn++;
      // One that is paused while it publishes holds the project until Postgres ends its transaction, which takes a while; one
      // that has only begun stops its child when it wakes, and has nothing to write.
      const moment = number % times(10, 20) === 1 ? 'publishing' : number % 4 === 3 ? 'beginning' : 'storing';
      const paused = await pause(learner, moment);
      if (paused) stale.push(paused);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, pauseSome));
  await settle(system, 120);
  let published = 0;
  for (const { runId, attempt } of stale) {
    const models = await system.postgres.sql<{ attempt: number }[]>`
      select attempt from models where run_id = ${runId} and published_at is not null`;
    if (models.length !== 1 || models[0]!.attempt <= attempt) published++;
  }
  tell(2, 'SIGSTOP past the lease, then SIGCONT', stale.length, `${published} stale writes`, '0');
  expect(stale.length).toBeGreaterThanOrEqual(pauses);
  expect(published).toBe(0);
});

test('3 and 4: on SIGTERM it finishes or hands over; its children die with it', { timeout: 900_000 }, async () => {
  let slowest = 0;
  let orphans = 0;
  const repeats = times(2, 3);
  for (let turn = 0; turn < repeats; turn++) {
    // Every other one has no time to finish, and would not.
    const trainer = system.trainer({ DRAIN_SECONDS: turn % 2 ? '20' : '1' });
    await trainer.ready;
    await createProject(system, { name: 'Stopped' });
    await until(async () => (await running()).length > 0, 60, 'a run');
    // A computation that would go on for ever.
    if (turn % 2 === 0) process.kill(trainingChildOf(trainer.pid)!, 'SIGSTOP');
    trainer.process.kill('SIGTERM');
    slowest = Math.max(slowest, await until(() => !alive(trainer.pid), 30, 'the worker ends'));
    await trainer.ended;
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
});
