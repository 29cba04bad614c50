/** What a worker may write under its lease, and what a run ends with, on a real Postgres. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { models, runs } from '#shared/schema.ts';
import { pruneModels } from '../../functions/maintain/models.ts';
import { restoreCheckpoint, storeCheckpoint } from '../../trainer/checkpoint.ts';
import type { Dataset } from '../../trainer/dataset.ts';
import { extendLease, failRun, keepLease, LeaseLost, releaseLease, writeProgress } from '../../trainer/lease.ts';
import { createHeadStage, isWorthTuning } from '../../trainer/stages/head-stage.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { insertRun } from '../support/rows.ts';
import { createTraining } from '../support/training.ts';

const nothing = { accuracy: 1, artifacts: [], report: { told: 'why' } as never };
const labels = { name: 'labels.txt', type: 'text/plain' };
const model = { ...nothing, artifacts: [labels] };
const none: Dataset = { classes: [], images: [] };
let postgres: TestDatabase;
let training: ReturnType<typeof createTraining>;
let folder: string;
beforeAll(async () => {
  postgres = await createTestDatabase({ connections: 8 });
  folder = await mkdtemp(join(tmpdir(), 'ai-teacher-lease-'));
  await writeFile(join(folder, labels.name), 'a');
});
beforeEach(async () => {
  await postgres.sql`delete from projects`;
  training = createTraining(postgres);
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await postgres.close();
});
const insertQueued = (projectId: string, stage: 'head' | 'fine-tune') =>
  insertRun(postgres.db, projectId, 'queued', { stage, attempt: 0 });

describe('fine-tuning', () => {
  test('that is no better ends its run and leaves the model as it was', async () => {
    const { projectId } = await training.insertTrainable({ due: false });
    const runId = await insertQueued(projectId, 'fine-tune');
    expect(await training.publish(await training.taken(projectId), none, nothing, '/tmp')).toBeNull();
    expect(await training.runOf(runId)).toMatchObject({ state: 'succeeded', report: { told: 'why' } });
    expect(await postgres.db.select().from(models).where(eq(models.projectId, projectId))).toEqual([]);
  });

  test('is queued in the transaction that publishes a head, and announced when the project may be quiet', async () => {
    const { projectId, classIds } = await training.insertTrainable();
    const dataset = datasetOf(classIds, [25, 25]);
    const lease = await training.taken(projectId);
    const { follow } = createHeadStage(new AbortController().signal, Promise.resolve(true));
    training.sent.length = 0;
    const fails: typeof follow = async (...given) => {
      await follow(...given);
      throw new Error('the connection broke');
    };
    await expect(training.publish(lease, dataset, model, folder, fails)).rejects.toThrow('the connection broke');
    expect(await training.runsOf(projectId, 'fine-tune')).toEqual([]);
    expect(training.sent).toEqual([]);
    expect((await training.projectOf(projectId)).currentModelId).toBeNull();
    await training.publish(lease, dataset, model, folder, follow);
    const [tuning] = await training.runsOf(projectId, 'fine-tune');
    expect(tuning).toMatchObject({ state: 'queued', automatic: true, revision: 1 });
    expect(training.sent).toEqual([{ projectId, runId: tuning!.id, delaySeconds: 120 }]);
  });

  test('is not queued for a head that is not worth it, or where nobody wants it, and a waiting one is announced', async () => {
    const { projectId, classIds } = await training.insertTrainable();
    const signal = new AbortController().signal;
    const [wanted, unwanted] = [true, false].map((tunes) => createHeadStage(signal, Promise.resolve(tunes)).follow);
    await training.publish(await training.taken(projectId), datasetOf(classIds, [24, 30]), model, folder, wanted);
    await training.raise(projectId);
    await training.publish(await training.taken(projectId), datasetOf(classIds, [30, 30]), model, folder, unwanted);
    expect(await training.runsOf(projectId, 'fine-tune')).toEqual([]);
    const asked = await insertQueued(projectId, 'fine-tune');
    await training.raise(projectId);
    const lease = await training.taken(projectId);
    training.sent.length = 0;
    await training.publish(lease, datasetOf(classIds, [30, 30]), model, folder, wanted);
    expect(await training.runsOf(projectId, 'fine-tune')).toHaveLength(1);
    expect(training.sent).toEqual([{ projectId, runId: asked, delaySeconds: 120 }]);
  });

  test('of an older revision is superseded by the head of a newer one, and queued again', async () => {
    const { projectId, classIds } = await training.insertTrainable({ due: false });
    const outdated = await insertQueued(projectId, 'fine-tune');
    const tuning = await training.taken(projectId);
    expect(tuning.runId).toBe(outdated);
    await training.raise(projectId);
    const head = await training.taken(projectId);
    const { follow } = createHeadStage(new AbortController().signal, Promise.resolve(false));
    await training.publish(head, datasetOf(classIds, [2, 2]), model, folder, follow);
    expect((await training.runOf(outdated)).state).toBe('superseded');
    await expect(training.publish(tuning, none, model, folder)).rejects.toBeInstanceOf(LeaseLost);
    expect(await training.runsOf(projectId, 'fine-tune')).toMatchObject([
      { state: 'superseded' },
      { state: 'queued', revision: 1 },
    ]);
  });

  test('a checkpoint is there for the next attempt, the newest of those kept, and goes with the run', async () => {
    const { projectId } = await training.insertTrainable({ due: false });
    const runId = await insertQueued(projectId, 'fine-tune');
    const [from, to] = [join(folder, 'from'), join(folder, 'to')];
    const first = await training.taken(projectId);
    expect(await storeCheckpoint(postgres, first, join(folder, 'missing'))).toBe(false);
    expect(await restoreCheckpoint(postgres, first, to)).toBe(false);
    const early = randomBytes(3_000_000);
    await writeFile(from, early);
    expect(await storeCheckpoint(postgres, first, from)).toBe(true);
    await releaseLease(postgres.db, first);
    const second = await training.taken(projectId);
    expect(await restoreCheckpoint(postgres, second, to)).toBe(true);
    expect((await readFile(to)).equals(early)).toBe(true);
    // Woken up after its successor began, the first one can keep nothing.
    await expect(storeCheckpoint(postgres, first, from)).rejects.toBeInstanceOf(LeaseLost);
    await writeFile(from, 'later');
    await storeCheckpoint(postgres, second, from);
    await releaseLease(postgres.db, second);
    expect(await restoreCheckpoint(postgres, await training.taken(projectId), to)).toBe(true);
    expect(await readFile(to, 'utf8')).toBe('later');
    const kept = postgres.db.select().from(models).where(eq(models.runId, runId));
    await postgres.sql`update models set created_at = clock_timestamp() - interval '1 hour' where run_id = ${runId}`;
    await pruneModels(postgres.db, 3);
    expect(await kept).toHaveLength(2);
    await postgres.db.update(runs).set({ state: 'cancelled' }).where(eq(runs.id, runId));
    await pruneModels(postgres.db, 3);
    expect(await kept).toEqual([]);
  });

  test.each([
    [[25, 30], true],
    [[24, 30], false],
    [[2000, 2000], false],
  ])('of %j pictures is worth it by itself: %s', (counts, worth) => {
    expect(isWorthTuning(datasetOf(['a', 'b'], counts))).toBe(worth);
  });
});

function datasetOf(classIds: string[], counts: number[]): Dataset {
  const imagesOf = (classId: string, count: number) =>
    Array.from({ length: count }, (_, index) => ({
      ...{ id: `${classId}-${index}`, classId, key: '', etag: null, burst: null, embedding: null, seconds: 0 },
    }));
  return {
    classes: classIds.map((id) => ({ id, name: id })),
    images: classIds.flatMap((id, index) => imagesOf(id, counts[index]!)),
  };
}

describe('a worker that lost its lease', () => {
  test('changes nothing any more, whatever it writes', async () => {
    const { projectId, classIds } = await training.insertTrainable();
    const first = await training.taken(projectId);
    await training.expireLease(first.runId);
    const second = await training.taken(projectId);
    expect(second).toMatchObject({ runId: first.runId, attempt: 2 });
    const { db } = postgres;
    const dataset = { classes: classIds.map((id) => ({ id, name: id })), images: [] };
    const trained = model;
    const detail = { code: 'failed', params: {}, message: 'no' };
    const writes = [
      () => extendLease(db, first, 20),
      () => writeProgress(db, first, { percent: 50, secondsLeft: 1 }),
      () => releaseLease(db, first),
      () => failRun(db, first, detail),
      () => training.publish(first, dataset, trained, folder),
    ];
    const before = await training.runOf(first.runId);
    for (const write of writes) await expect(write()).rejects.toBeInstanceOf(LeaseLost);
    expect(await training.runOf(first.runId)).toEqual(before);
    expect(await training.publish(second, dataset, trained, folder)).toEqual(expect.any(String));
    expect((await training.runOf(first.runId)).state).toBe('succeeded');
  });

  test('cancelled by the learner: the same', async () => {
    const { projectId } = await training.insertTrainable();
    const lease = await training.taken(projectId);
    await postgres.db.update(runs).set({ state: 'cancelled' }).where(eq(runs.id, lease.runId));
    await expect(writeProgress(postgres.db, lease, { percent: 1, secondsLeft: null })).rejects.toBeInstanceOf(
      LeaseLost,
    );
  });

  test('is told while it works', async () => {
    const { projectId } = await training.insertTrainable();
    const lease = await training.taken(projectId);
    const work = keepLease(
      postgres.db,
      lease,
      1,
      (lost) => new Promise((_, reject) => lost.addEventListener('abort', () => reject(lost.reason))),
    );
    await postgres.db.update(runs).set({ attempt: 7 }).where(eq(runs.id, lease.runId));
    await expect(work).rejects.toBeInstanceOf(LeaseLost);
  });
});

test('a lease is kept for as long as the work takes', async () => {
  const { projectId } = await training.insertTrainable();
  const lease = await training.taken(projectId);
  await extendLease(postgres.db, lease, 1);
  await keepLease(postgres.db, lease, 1, () => new Promise((resolve) => setTimeout(resolve, 2500)));
  expect(await training.take(projectId)).toEqual({ kind: 'nothing' });
});

test('three real failures end a run; a hand-over is none', async () => {
  const { projectId } = await training.insertTrainable();
  const detail = { code: 'failed', params: {}, message: 'no' };
  await releaseLease(postgres.db, await training.taken(projectId));
  expect(await failRun(postgres.db, await training.taken(projectId), detail)).toBe(true);
  expect(await failRun(postgres.db, await training.taken(projectId), detail)).toBe(true);
  const last = await training.taken(projectId);
  expect(last.attempt).toBe(4);
  expect(await failRun(postgres.db, last, detail)).toBe(false);
  expect(await training.runOf(last.runId)).toMatchObject({ state: 'failed', failures: 3, error: detail });
});

test('a model whose class is gone is not published: the run is superseded', async () => {
  const { projectId, classIds } = await training.insertTrainable();
  const lease = await training.taken(projectId);
  const dataset = { classes: [...classIds, crypto.randomUUID()].map((id) => ({ id, name: id })), images: [] };
  expect(await training.publish(lease, dataset, model, folder)).toBeNull();
  expect((await training.runOf(lease.runId)).state).toBe('superseded');
});
