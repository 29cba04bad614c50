import { expect, test } from 'vitest';
import {
  isDue,
  needsMessage,
  nextSlot,
  planMessage,
  type Schedule,
  scheduleSettled,
  scheduleTraining,
  takeUpChanges,
} from '#shared/schedule.ts';

const fresh: Schedule = { trainDueAt: null, dirtySince: null, messageAt: null, slotsFreeAt: null };
const settle = 3;
const dirtyLimit = 60;

test('a change is due after the settle time while uploads are pending, and at once when there are none', () => {
  expect(scheduleTraining(fresh, { now: 100, pending: true }, settle)).toMatchObject({
    trainDueAt: 103,
    dirtySince: 100,
  });
  expect(scheduleTraining(fresh, { now: 100, pending: false }, settle)).toMatchObject({ trainDueAt: 100 });
});

test('a project that waits for a worker is not put off, and needs no further message unless its own may be lost', () => {
  const due = { ...scheduleTraining(fresh, { now: 100, pending: false }, settle), messageAt: 100 };
  const later = scheduleTraining(due, { now: 104, pending: true }, settle);
  expect(later.trainDueAt).toBe(100);
  expect(needsMessage(due, later, 104)).toBe(false);
  expect(needsMessage(due, later, 111)).toBe(true);
});

test('the first change stays the one that the project is dirty since', () => {
  const first = scheduleTraining(fresh, { now: 100, pending: true }, settle);
  expect(scheduleTraining(first, { now: 101, pending: true }, settle)).toMatchObject({
    trainDueAt: 104,
    dirtySince: 100,
  });
});

test('the end of the last upload makes what is due wait no longer', () => {
  const due = scheduleTraining(fresh, { now: 100, pending: true }, settle);
  expect(scheduleSettled(due, { now: 101, pending: false }).trainDueAt).toBe(101);
  expect(scheduleSettled(due, { now: 101, pending: true })).toBe(due);
  expect(scheduleSettled(fresh, { now: 101, pending: false })).toBe(fresh);
});

test('four automatic trainings may start in a row, then one every 20 seconds', () => {
  let schedule = fresh;
  const starts: number[] = [];
  for (let now = 0; starts.length < 8; now += 0.5) {
    schedule = scheduleTraining(schedule, { now, pending: false }, settle);
    if (!isDue(schedule, now, dirtyLimit)) continue;
    schedule = takeUpChanges(schedule, now, true);
    starts.push(now);
  }
  expect(starts).toEqual([0, 0.5, 1, 1.5, 20, 40, 60, 80]);
});

test('a project that never settles is due when it was dirty for a minute', () => {
  const schedule = { ...fresh, dirtySince: 100, trainDueAt: 163 };
  expect(isDue(schedule, 159, dirtyLimit)).toBe(false);
  expect(isDue(schedule, 160, dirtyLimit)).toBe(true);
  expect(isDue({ ...schedule, slotsFreeAt: 300 }, 160, dirtyLimit)).toBe(false);
});

test('a message is sent only when none arrives in time, with a delay that is rounded down', () => {
  const due = { ...fresh, trainDueAt: 103.7 };
  const planned = planMessage(due, 100, 103.7, 'change')!;
  expect(planned).toEqual({ schedule: { ...due, messageAt: 103 }, delaySeconds: 3 });
  expect(planMessage(planned.schedule, 101, 103.7, 'change')).toBeNull();
  // The last upload came: the message on its way would be two seconds late.
  expect(planMessage(planned.schedule, 101, 101, 'change')).toMatchObject({
    delaySeconds: 0,
    schedule: { messageAt: 101 },
  });
  // Right after a message that has arrived the next one keeps a second's distance.
  expect(planMessage({ ...due, messageAt: 101 }, 101.2, 101.2, 'change')).toMatchObject({ delaySeconds: 1 });
});

/** Deterministic random numbers from 0 to 1 (mulberry32). */
function random(seed: number) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface SimulatedProject {
  schedule: Schedule;
  pending: number;
  revision: number;
  trained: number;
  changedAt: number;
  busyUntil: number;
  trainings: number[];
  messages: number[];
}

/** The system as far as the schedule concerns it: events come when their time is there, two workers handle one message each. */
function simulate({ seed, lost, late }: { seed: number; lost: number; late: number }) {
  const chance = random(seed);
  const projects: SimulatedProject[] = Array.from({ length: 40 }, () => ({
    ...{ schedule: fresh, pending: 0, revision: 0, trained: 0, changedAt: 0, busyUntil: 0 },
    trainings: [],
    messages: [],
  }));
  const agenda: { at: number; run: (now: number) => void }[] = [];
  const add = (at: number, run: (now: number) => void) => agenda.push({ at, run });
  const waiting: { project: SimulatedProject; since: number }[] = [];
  const workersFreeAt = [0, 0];
  let longestWait = 0;

  function send(project: SimulatedProject, now: number, at: number, sender: 'change' | 'worker' = 'worker') {
    const planned = planMessage(project.schedule, now, at, sender);
    if (!planned) return;
    project.schedule = planned.schedule;
    project.messages.push(now + planned.delaySeconds);
    if (chance() < lost) return;
    add(now + planned.delaySeconds + chance() * late, (arrived) => {
      waiting.push({ project, since: arrived });
      work(arrived);
    });
  }
  function change(project: SimulatedProject, now: number) {
    project.revision++;
    project.changedAt = now;
    const before = project.schedule;
    project.schedule = scheduleTraining(before, { now, pending: project.pending > 0 }, settle);
    if (needsMessage(before, project.schedule, now)) send(project, now, project.schedule.trainDueAt!, 'change');
  }
  function work(now: number) {
    const worker = workersFreeAt.findIndex((freeAt) => freeAt <= now);
    const message = worker < 0 ? undefined : waiting.shift();
    if (!message) return;
    workersFreeAt[worker] = handle(message.project, now);
    add(workersFreeAt[worker]!, work);
  }
  /** The contract's table. @returns when the worker is free again. */
  function handle(project: SimulatedProject, now: number): number {
    const { schedule } = project;
    if (project.busyUntil > now) {
      send(project, now, Math.min(project.busyUntil, now + 5));
      return now + 0.01;
    }
    if (isDue(schedule, now, dirtyLimit)) {
      project.schedule = takeUpChanges(schedule, now, true);
      const revision = project.revision;
      longestWait = Math.max(longestWait, now - (schedule.dirtySince ?? now));
      project.busyUntil = now + 0.2 + 2 * chance();
      project.trainings.push(now);
      add(project.busyUntil, () => {
        project.trained = Math.max(project.trained, revision);
      });
      return project.busyUntil;
    }
    if (schedule.trainDueAt === null) return now + 0.01;
    if (schedule.trainDueAt - now > 1) {
      send(project, now, schedule.trainDueAt);
      return now + 0.01;
    }
    // The worker holds the message.
    add(schedule.trainDueAt, (due) => {
      waiting.unshift({ project, since: due });
      work(due);
    });
    return schedule.trainDueAt;
  }
  function maintain(now: number) {
    for (const project of projects) {
      const { trainDueAt } = project.schedule;
      if (trainDueAt !== null && trainDueAt < now - 30 && project.busyUntil <= now) send(project, now, now);
    }
  }

  let events = 0;
  for (let start = 0; events < 10_000; start += 20 * chance()) {
    const project = projects[Math.floor(chance() * projects.length)]!;
    const kind = chance();
    // A burst of a camera or a folder, a single picture, or a picture that is moved.
    const count = kind < 0.3 ? 1 + Math.floor(chance() * 200) : 1;
    for (let picture = 0; picture < count; picture++, events++) {
      const requested = start + picture * 0.03;
      if (kind > 0.8) add(requested, (now) => change(project, now));
      else {
        add(requested, () => {
          project.pending++;
        });
        add(requested + 0.1 + chance() * 3, (now) => {
          project.pending--;
          change(project, now);
        });
      }
    }
  }
  const end = Math.max(...agenda.map(({ at }) => at));
  for (let at = 0; at < end + 700; at += 300) add(at, maintain);
  agenda.sort((a, b) => a.at - b.at);
  while (agenda.length > 0) {
    const { at, run } = agenda.shift()!;
    const before = agenda.length;
    run(at);
    // Events that were added are few; the rest is sorted already.
    if (agenda.length > before) agenda.sort((a, b) => a.at - b.at);
  }
  return { projects, longestWait };
}

/** The most of `times` that lie within `seconds` of each other. */
const mostWithin = (times: number[], seconds: number): number => {
  const sorted = times.toSorted((a, b) => a - b);
  return Math.max(0, ...sorted.map((from) => sorted.filter((at) => at >= from && at < from + seconds).length));
};

test.each([
  ['nothing is lost or late', { seed: 1, lost: 0, late: 0.05 }],
  ['messages are late', { seed: 2, lost: 0, late: 5 }],
  ['messages are lost and late', { seed: 3, lost: 0.05, late: 2 }],
])('10,000 events, two workers, %s: no project is forgotten, no storm, about one message a second', (_, faults) => {
  const { projects, longestWait } = simulate(faults);
  for (const { schedule, revision, trained, trainings, messages } of projects) {
    expect(trained).toBe(revision);
    expect(schedule).toMatchObject({ trainDueAt: null, dirtySince: null });
    // Slots: four in a row, one every 20 s.
    for (const seconds of [1, 20, 60, 300]) {
      expect(mostWithin(trainings, seconds)).toBeLessThanOrEqual(4 + Math.ceil(seconds / 20));
    }
    // One message a second, and for each training one that overtakes another.
    for (const seconds of [1, 10, 60, 300]) {
      expect(mostWithin(messages, seconds)).toBeLessThanOrEqual(seconds + 1 + mostWithin(trainings, seconds + settle));
    }
  }
  // A change waits for the settle time or a slot; only a lost message waits for maintain.
  expect(longestWait).toBeLessThan(faults.lost > 0 ? 700 : dirtyLimit + 25);
  expect(nextSlot(fresh)).toBe(Number.NEGATIVE_INFINITY);
});
