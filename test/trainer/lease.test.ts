import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { raiseRevision } from '#shared/revisions.ts';
import { images, models, projects, runs } from '#shared/schema.ts';
import { pruneModels } from '../../functions/maintain/models.ts';
import { restoreCheckpoint, storeCheckpoint } from '../../trainer/checkpoint.ts';
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
import { isWorthTuning, queueTuning } from '../../trainer/tuning.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { insertImage, insertProject, insertRun } from '../support/rows.ts';

const offered = ['efficientnet-lite0', 'efficientnet-lite2'] as const;
const settings = { BACKBONES: offered, LEASE_SECONDS: 20, DIRTY_SECONDS: 60 };
const nothing = { accuracy: 1, artifacts: [], report: { told: 'why' } as never };
const one = { name: 'labels.txt', type: 'text/plain' };
let postgres: TestDatabase;
let folder: string;
beforeAll(async () => {
  postgres = await createTestDatabase({ connections: 8 });
  folder = await mkdtemp(join(tmpdir(), 'ai-teacher-lease-'));
  await writeFile(join(folder, one.name), 'a');
});
// What one test left waiting would have its turn in the next.
beforeEach(() => postgres.sql`delete from projects`);
afterAll(async () => {
  await rm(folder, { recursive: true });
  await postgres.close();
});

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

test.each([
  ['efficientnet-lite2', 'efficientnet-lite2'],
  ['efficientnet-lite2', 'timm/convnext_tiny.fb_in22k', 'efficientnet-lite2'],
  ['dinov2-small', 'efficientnet-lite0'],
])('what a learner chose (%s …) stays, as long as it is offered', async (...choices) => {
  const expected = choices.pop();
  const { projectId } = await dueProject();
  for (const [age, backbone] of choices.toReversed().entries()) {
    const run = await insertRun(postgres.db, projectId, 'succeeded', { automatic: false, backbone });
    await postgres.db.execute(sql`update runs set created_at = now() - ${age} * interval '1 minute' where id = ${run}`);
  }
  expect(await taken(projectId)).toMatchObject({ stage: 'head', backbone: expected });
});

describe('turns', () => {
  /** A due project of a learner who was served so many seconds ago, with another project. */
  async function served(secondsAgo: number | null) {
    const { sql: query } = postgres;
    const [session] = await query`insert into sessions (token_hash) values (${randomBytes(32)}) returning id`;
    const [project, other] = [await dueProject(), await dueProject({ due: false })];
    const ids = [project.projectId, other.projectId];
    await query`update projects set session_id = ${session!.id} where id in ${query(ids)}`;
    if (secondsAgo !== null) {
      await query`update projects set served_at = clock_timestamp() - make_interval(secs => ${secondsAgo})
        where id = ${other.projectId}`;
    }
    return project.projectId;
  }
  const queued = (projectId: string, stage: 'head' | 'fine-tune') =>
    insertRun(postgres.db, projectId, 'queued', { stage, attempt: 0 });

  test('a knock serves who was served longest ago, of those who never were the one that waits longest', async () => {
    const [greedy, early] = [await served(1), await served(9)];
    const [first, second] = [await served(null), await served(null)];
    for (const expected of [first, second, early, greedy]) {
      expect(await taken(greedy)).toMatchObject({ projectId: expected });
    }
    expect(await take(greedy)).toMatchObject({ kind: 'busy' });
  });

  test('who was served longest ago, or not for long, waits for nobody', async () => {
    const [first, second] = [await served(9), await served(1)];
    expect(await taken(first)).toMatchObject({ projectId: first });
    expect(await taken(second)).toMatchObject({ projectId: second });
    const [starving, third] = [await served(31), await served(null)];
    expect(await taken(starving)).toMatchObject({ projectId: starving });
    expect(await taken(third)).toMatchObject({ projectId: third });
  });

  test('a learner with many projects waits for who is about to be due, others do not', async () => {
    const [greedy, modest, soon] = [await served(1), await served(1), await served(null)];
    const { sql: query } = postgres;
    for (let one = 0; one < 2; one++) {
      const { projectId } = await dueProject({ due: false });
      await query`update projects set served_at = clock_timestamp(),
        session_id = (select session_id from projects where id = ${greedy}) where id = ${projectId}`;
    }
    await raiseRevision(postgres.db, soon, 1.5);
    expect(await taken(modest)).toMatchObject({ projectId: modest });
    expect(await take(greedy)).toMatchObject({ kind: 'busy', seconds: expect.closeTo(1.2, 0) });
    await query`update projects set dirty_since = clock_timestamp() - interval '11 seconds' where id = ${soon}`;
    expect(await taken(greedy)).toMatchObject({ projectId: greedy });
  });

  test('a learner does not go before herself, nor who cannot train', async () => {
    const greedy = await served(1);
    const [few, early, gone] = [await served(null), await served(null), await served(null)];
    await postgres.sql`delete from images where project_id = ${few}`;
    await raiseRevision(postgres.db, early, 30);
    await postgres.sql`update projects set deleted_at = clock_timestamp() where id = ${gone}`;
    const { sql: query } = postgres;
    const own = await dueProject();
    await query`update projects set session_id = (select session_id from projects where id = ${greedy})
      where id = ${own.projectId}`;
    expect(await taken(greedy)).toMatchObject({ projectId: greedy });
    expect(await taken(own.projectId)).toMatchObject({ projectId: own.projectId });
  });

  test('a run that waits counts as what is due does; a fine-tuning once its project has been quiet', async () => {
    const greedy = await served(1);
    const [asks, tunes] = [(await dueProject({ due: false })).projectId, (await dueProject({ due: false })).projectId];
    const tuning = await queued(tunes, 'fine-tune');
    await postgres.sql`update projects set served_at = clock_timestamp() - interval '2 seconds' where id = ${tunes}`;
    const asked = await queued(asks, 'head');
    expect(await taken(greedy)).toMatchObject({ runId: asked });
    expect(await taken(greedy)).toMatchObject({ projectId: greedy });
    await postgres.sql`update projects set served_at = clock_timestamp() - interval '21 seconds' where id = ${tunes}`;
    expect(await taken(greedy)).toMatchObject({ runId: tuning });
  });

  test('of many knocks at once none is in vain, and nobody waits for another', async () => {
    const greedy = await served(1);
    const others = await Promise.all(Array.from({ length: 3 }, () => served(null)));
    const results = await Promise.all(Array.from({ length: 8 }, () => take(greedy)));
    const leases = results.flatMap((result) => (result.kind === 'taken' ? [result.lease.projectId] : []));
    expect(new Set(leases).size).toBe(leases.length);
    expect(leases).toContain(greedy);
    for (const other of others) if (!leases.includes(other)) expect(await taken(other)).toBeTruthy();
  });
});

describe('fine-tuning', () => {
  const queued = (projectId: string, stage: 'head' | 'fine-tune') =>
    insertRun(postgres.db, projectId, 'queued', { stage, attempt: 0 });

  test('waits for what the learner changed, and for a head that was asked for', async () => {
    const { projectId } = await dueProject();
    const tuning = await queued(projectId, 'fine-tune');
    const automatic = await taken(projectId);
    expect(automatic).toMatchObject({ stage: 'head' });
    expect(await take(projectId)).toMatchObject({ kind: 'busy' });
    await publishModel(postgres, automatic, { classes: [], images: [] }, { ...nothing, artifacts: [one] }, folder);
    const asked = await queued(projectId, 'head');
    expect(await taken(projectId)).toMatchObject({ runId: asked, stage: 'head' });
    await postgres.db.update(runs).set({ state: 'cancelled' }).where(eq(runs.id, asked));
    expect(await taken(projectId)).toMatchObject({ runId: tuning, stage: 'fine-tune' });
  });

  test('is not begun while a change settles', async () => {
    const { projectId } = await dueProject({ due: false });
    await raiseRevision(postgres.db, projectId, 30);
    await queued(projectId, 'fine-tune');
    expect(await take(projectId)).toMatchObject({ kind: 'early' });
  });

  test('that is no better ends its run and leaves the model as it was', async () => {
    const { projectId } = await dueProject({ due: false });
    const runId = await queued(projectId, 'fine-tune');
    expect(
      await publishModel(postgres, await taken(projectId), { classes: [], images: [] }, nothing, '/tmp'),
    ).toBeNull();
    expect(await runOf(runId)).toMatchObject({ state: 'succeeded', report: { told: 'why' } });
    expect(await postgres.db.select().from(models).where(eq(models.projectId, projectId))).toEqual([]);
  });

  test('is queued once, and a backbone of it is no choice for heads', async () => {
    const { projectId } = await dueProject();
    const lease = await taken(projectId);
    const [first, second] = [await queueTuning(postgres.db, lease), await queueTuning(postgres.db, lease)];
    expect(second).toBe(first);
    await postgres.db.update(runs).set({ backbone: 'efficientnet-lite2' }).where(eq(runs.id, first));
    await postgres.db.update(runs).set({ state: 'cancelled' }).where(eq(runs.id, lease.runId));
    await raiseRevision(postgres.db, projectId, -1);
    expect(await taken(projectId)).toMatchObject({ stage: 'head', backbone: 'efficientnet-lite0' });
  });

  test('a checkpoint is there for the next attempt, the newest of those kept, and goes with the run', async () => {
    const { projectId } = await dueProject({ due: false });
    const runId = await queued(projectId, 'fine-tune');
    const [from, to] = [join(folder, 'from'), join(folder, 'to')];
    const first = await taken(projectId);
    expect(await storeCheckpoint(postgres, first, join(folder, 'missing'))).toBe(false);
    expect(await restoreCheckpoint(postgres, first, to)).toBe(false);
    const early = randomBytes(3_000_000);
    await writeFile(from, early);
    expect(await storeCheckpoint(postgres, first, from)).toBe(true);
    await releaseLease(postgres.db, first);
    const second = await taken(projectId);
    expect(await restoreCheckpoint(postgres, second, to)).toBe(true);
    expect((await readFile(to)).equals(early)).toBe(true);
    // Woken up after its successor began, the first one can keep nothing.
    await expect(storeCheckpoint(postgres, first, from)).rejects.toBeInstanceOf(LeaseLost);
    await writeFile(from, 'later');
    await storeCheckpoint(postgres, second, from);
    await releaseLease(postgres.db, second);
    expect(await restoreCheckpoint(postgres, await taken(projectId), to)).toBe(true);
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
    const images = counts.flatMap((count, of) => Array.from({ length: count }, () => ({ class: of })));
    const dataset = { classes: counts.map(String), images } as never;
    expect(isWorthTuning(dataset)).toBe(worth);
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
