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

/** A learner with many projects that have a model, and ask for another one again and again between `go` and `rest`. */
async function createGreedy() {
  const made = await fetch(`${system.local.studioUrl}/api/projects`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'Greedy', classes: [] }),
  });
  const own = { name: 'Greedy', cookie: made.headers.get('Set-Cookie')!.split(';')[0]! };
  const projects = await Promise.all(Array.from({ length: greedyProjects }, () => createProject(system, own)));
  for (const one of projects) await one.until(({ status }) => status === 'ready', 120);
  let asking = false;
  let loops: Promise<void>[] = [];
  return {
    go: () => {
      asking = true;
      loops = projects.map(async (one, index) => {
        await wait(index / greedyProjects);
        for (; asking; await wait(3)) await one.call('POST', '/runs');
      });
    },
    /** Until nothing is left of what was asked for. */
    rest: async () => {
      asking = false;
      await Promise.all(loops);
      await settle(system, 120);
    },
  };
}

const chance = chanceOf(17);
const median = (all: number[]) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]!;
const measure = async (into: number[]) => {
  for (let one = 0; one < 3; one++) {
    // So that no rhythm comes up between theirs and the greedy one's.
    await wait(chance() * 2);
    into.push(await waiting());
  }
};

test('17: who trains without end makes others wait hardly longer', { timeout: 900_000 }, async () => {
  const [alone, beside]: [number[], number[]] = [[], []];
  const greedy = await createGreedy();
  // By turns: what else the machine does then weighs on both.
  for (let turn = 0; turn < times(1, 2); turn++) {
    await measure(alone);
    greedy.go();
    await measure(beside);
    await greedy.rest();
  }
  const [trained] = await system.postgres.sql<{ runs: number }[]>`select count(*)::int as runs from runs
    where not automatic and state = 'succeeded'`;
  const ratio = median(beside) / median(alone);
  // A run that is under way is not broken off, and takes longer where other tests have the cores too; without turns it is 20 x.
  const most = times(2, 1.2);
  tell(
    17,
    `${greedyProjects} projects of one learner train without end on the one worker (${trained!.runs} runs), settle time ${settleSeconds} s`,
    `${alone.length} others alone, ${beside.length} beside`,
    `${ratio.toFixed(2)} x (medians ${median(beside).toFixed(1)} and ${median(alone).toFixed(1)} s, at most ${Math.max(...beside).toFixed(1)} s)`,
    `<= ${most} x`,
  );
  expect(trained!.runs).toBeGreaterThan(beside.length);
  expect(ratio).toBeLessThanOrEqual(most);
});
