import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { raiseRevision } from '#shared/revisions.ts';
import { images, projects, runs } from '#shared/schema.ts';
import {
  extendLease,
  failRun,
  keepLease,
  type Lease,
  LeaseLost,
  releaseLease,
  takeRun,
  writeProgress,
} from '../../trainer/lease.ts';
import { publishModel } from '../../trainer/publish.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { insertImage, insertProject } from '../support/rows.ts';

const settings = { LEASE_SECONDS: 20, DIRTY_SECONDS: 60 };
let postgres: TestDatabase;
beforeAll(async () => {
  postgres = await createTestDatabase({ connections: 8 });
});
afterAll(() => postgres.close());

/** A project with two classes of two ready images each, due or not. */
async function dueProject({ due = true } = {}) {
  const { db } = postgres;
  const { id: projectId, classIds } = await insertProject(db);
  for (const classId of [...classIds, ...classIds]) {
    await insertImage(db, { projectId, classId, state: 'ready' });
  }
  if (due) await raiseRevision(db, projectId, -1);
  return { projectId, classIds };
}
const take = (projectId: string) => takeRun(postgres.db, projectId, settings);
async function taken(projectId: string): Promise<Lease> {
  const result = await take(projectId);
  if (result.kind !== 'taken') throw new Error(`Expected a lease, got ${result.kind}.`);
  return result.lease;
}
const runOf = async (runId: string) => (await postgres.db.select().from(runs).where(eq(runs.id, runId)))[0]!;
const expire = (runId: string) =>
  postgres.db
    .update(runs)
    .set({ leaseExpiresAt: sql`clock_timestamp() - interval '1 second'` })
    .where(eq(runs.id, runId));

describe('what a training message finds', () => {
  test('nothing, in a project that is not due, deleted or not there', async () => {
    expect(await take((await dueProject({ due: false })).projectId)).toEqual({ kind: 'nothing' });
    expect(await take(crypto.randomUUID())).toEqual({ kind: 'nothing' });
    const { projectId } = await dueProject();
    await postgres.db.update(projects).set({ deletedAt: new Date() }).where(eq(projects.id, projectId));
    expect(await take(projectId)).toEqual({ kind: 'nothing' });
  });

  test('a due project gives one automatic run of the newest revision, and is due no more', async () => {
    const { projectId } = await dueProject();
    const lease = await taken(projectId);
    expect(lease).toMatchObject({ projectId, attempt: 1, revision: 1, stage: 'head' });
    const [project] = await postgres.db.select().from(projects).where(eq(projects.id, projectId));
    expect(project).toMatchObject({ trainDueAt: null, dirtySince: null });
    expect(await take(projectId)).toMatchObject({ kind: 'busy' });
  });

  test('one that is due later waits, unless it has been dirty for too long', async () => {
    const { projectId } = await dueProject({ due: false });
    await raiseRevision(postgres.db, projectId, 30);
    expect(await take(projectId)).toMatchObject({ kind: 'early' });
    const minuteAgo = sql`clock_timestamp() - interval '61 seconds'`;
    await postgres.db.update(projects).set({ dirtySince: minuteAgo }).where(eq(projects.id, projectId));
    expect(await take(projectId)).toMatchObject({ kind: 'taken' });
  });

  test('of many at once exactly one takes the run', async () => {
    const { projectId } = await dueProject();
    const results = await Promise.all(Array.from({ length: 8 }, () => take(projectId)));
    expect(results.map(({ kind }) => kind).sort()).toEqual([...Array(7).fill('busy'), 'taken']);
  });

  test('too few images: no run, and due no more', async () => {
    const { projectId } = await dueProject();
    const [image] = await postgres.db.select().from(images).where(eq(images.projectId, projectId));
    await postgres.db.delete(images).where(eq(images.id, image!.id));
    expect(await take(projectId)).toEqual({ kind: 'nothing' });
    expect(await postgres.db.select().from(runs).where(eq(runs.projectId, projectId))).toEqual([]);
  });

  test('a run that a learner asked for is taken though nothing is due', async () => {
    const { projectId } = await dueProject({ due: false });
    const asked = { projectId, revision: 0, automatic: false, stage: 'head' as const, backbone: 'efficientnet-lite2' };
    const [run] = await postgres.db
      .insert(runs)
      .values({ ...asked, state: 'queued' })
      .returning();
    expect(await taken(projectId)).toMatchObject({ runId: run!.id, attempt: 1, backbone: 'efficientnet-lite2' });
  });
});

describe('a worker that lost its lease', () => {
  test('changes nothing any more, whatever it writes', async () => {
    const { projectId, classIds } = await dueProject();
    const first = await taken(projectId);
    await expire(first.runId);
    const second = await taken(projectId);
    expect(second).toMatchObject({ runId: first.runId, attempt: 2 });
    const { db } = postgres;
    const dataset = { classes: classIds.map((id) => ({ id, name: id })), images: [] };
    const trained = { accuracy: 1, artifacts: [], report: {} as never };
    const detail = { code: 'failed', params: {}, message: 'no' };
    const writes = [
      () => extendLease(db, first, 20),
      () => writeProgress(db, first, { percent: 50, secondsLeft: 1 }),
      () => releaseLease(db, first),
      () => failRun(db, first, detail),
      () => publishModel(postgres, first, dataset, trained, '/tmp'),
    ];
    const before = await runOf(first.runId);
    for (const write of writes) await expect(write()).rejects.toBeInstanceOf(LeaseLost);
    expect(await runOf(first.runId)).toEqual(before);
    expect(await publishModel(postgres, second, dataset, trained, '/tmp')).toEqual(expect.any(String));
    expect((await runOf(first.runId)).state).toBe('succeeded');
  });

  test('cancelled by the learner: the same', async () => {
    const { projectId } = await dueProject();
    const lease = await taken(projectId);
    await postgres.db.update(runs).set({ state: 'cancelled' }).where(eq(runs.id, lease.runId));
    await expect(writeProgress(postgres.db, lease, { percent: 1, secondsLeft: null })).rejects.toBeInstanceOf(
      LeaseLost,
    );
  });

  test('is told while it works', async () => {
    const { projectId } = await dueProject();
    const lease = await taken(projectId);
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
  const { projectId } = await dueProject();
  const lease = await taken(projectId);
  await extendLease(postgres.db, lease, 1);
  await keepLease(postgres.db, lease, 1, () => new Promise((resolve) => setTimeout(resolve, 2500)));
  expect(await take(projectId)).toMatchObject({ kind: 'busy' });
});

test('three real failures end a run; a hand-over is none', async () => {
  const { projectId } = await dueProject();
  const detail = { code: 'failed', params: {}, message: 'no' };
  await releaseLease(postgres.db, await taken(projectId));
  expect(await failRun(postgres.db, await taken(projectId), detail)).toBe(true);
  expect(await failRun(postgres.db, await taken(projectId), detail)).toBe(true);
  const last = await taken(projectId);
  expect(last.attempt).toBe(4);
  expect(await failRun(postgres.db, last, detail)).toBe(false);
  expect(await runOf(last.runId)).toMatchObject({ state: 'failed', failures: 3, error: detail });
});

test('a model whose class is gone is not published: the run is superseded', async () => {
  const { projectId, classIds } = await dueProject();
  const lease = await taken(projectId);
  const dataset = { classes: [...classIds, crypto.randomUUID()].map((id) => ({ id, name: id })), images: [] };
  expect(
    await publishModel(postgres, lease, dataset, { accuracy: 1, artifacts: [], report: {} as never }, '/tmp'),
  ).toBeNull();
  expect((await runOf(lease.runId)).state).toBe('superseded');
});
