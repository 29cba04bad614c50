/**
 * Row 17: one learner's projects ask for trainings all the time, and one worker has them all.
 *
 * Seen to fail: with a worker that takes messages as they come (nobody else had a model after 120 s, behind all that waited).
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { settle } from '../support/faults/check.ts';
import { chanceOf, tell, times } from '../support/faults/report.ts';
import { createProject, type System, startSystem, until, wait } from '../support/faults/system.ts';

const settleSeconds = 3;
const greedyProjects = 8;
let system: System;
beforeAll(async () => {
  // No limit helps the others here: turns alone do.
  const limits = { RUNS_PER_HOUR: '1000000', PROJECTS_PER_HOUR: '1000000' };
  system = await startSystem(chanceOf(17), { ...limits, SETTLE_SECONDS: String(settleSeconds) });
  await system.trainer().ready;
});
afterAll(() => system?.stop());

/** Seconds from somebody's last upload until there is a model. */
async function waiting(): Promise<number> {
  const learner = await createProject(system, { name: 'Other' });
  return await until(async () => (await learner.project()).status === 'ready', 120, 'ready');
}

/** A learner with many projects that have a model, and ask for another one again and again. */
async function startGreedy() {
  const made = await fetch(`${system.local.studioUrl}/api/projects`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'Greedy', classes: [] }),
  });
  const cookie = made.headers.get('Set-Cookie')!.split(';')[0]!;
  const own = { name: 'Greedy', cookie };
  const projects = await Promise.all(Array.from({ length: greedyProjects }, () => createProject(system, own)));
  for (const one of projects) await one.until(({ status }) => status === 'ready', 120);
  let asking = true;
  const loops = projects.map(async (one, index) => {
    await wait(index / greedyProjects);
    for (; asking; await wait(3)) await one.call('POST', '/runs');
  });
  return async () => {
    asking = false;
    await Promise.all(loops);
  };
}

const chance = chanceOf(17);
const median = (all: number[]) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]!;
const measure = async () => {
  const all: number[] = [];
  for (let one = 0; one < times(3, 25); one++) {
    // So that no rhythm comes up between theirs and the greedy one's.
    await wait(chance() * 2);
    all.push(await waiting());
  }
  return all;
};

test('17: who trains without end makes others wait hardly longer', { timeout: 900_000 }, async () => {
  await waiting();
  const alone = await measure();
  const stop = await startGreedy();
  const beside = await measure();
  await stop();
  const [trained] = await system.postgres.sql<{ runs: number }[]>`select count(*)::int as runs from runs
    where not automatic and state = 'succeeded'`;
  const ratio = median(beside) / median(alone);
  const worst = Math.max(...beside);
  tell(
    17,
    `${greedyProjects} projects of one learner train without end on the one worker (${trained!.runs} runs), settle time ${settleSeconds} s`,
    `${alone.length} and ${beside.length} others`,
    `${ratio.toFixed(2)} x (medians ${median(beside).toFixed(1)} and ${median(alone).toFixed(1)} s, at most ${worst.toFixed(1)} s)`,
    '<= 1.2 x',
  );
  await settle(system, 120);
  expect(trained!.runs).toBeGreaterThan(beside.length);
  expect(ratio).toBeLessThanOrEqual(1.2);
});
