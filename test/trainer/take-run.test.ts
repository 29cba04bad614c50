/** What a training message finds to do, on a real Postgres. */
import { randomBytes } from 'node:crypto';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { images, projects, runs } from '#shared/schema.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { insertImage, insertRun } from '../support/rows.ts';
import { createTraining } from '../support/training.ts';

let postgres: TestDatabase;
let training: ReturnType<typeof createTraining>;
beforeAll(async () => {
  postgres = await createTestDatabase({ connections: 8 });
});
beforeEach(async () => {
  // What one test left waiting would have its turn in the next.
  await postgres.sql`delete from projects`;
  training = createTraining(postgres);
});
afterAll(() => postgres?.close());

const nothing = { kind: 'nothing' };
const insertQueued = (projectId: string, stage: 'head' | 'fine-tune') =>
  insertRun(postgres.db, projectId, 'queued', { stage, attempt: 0 });

describe('what a training message finds', () => {
  test('nothing, in a project that is not due, deleted or not there', async () => {
    expect(await training.take((await training.insertTrainable({ due: false })).projectId)).toEqual(nothing);
    expect(await training.take(crypto.randomUUID())).toEqual(nothing);
    const { projectId } = await training.insertTrainable();
    await postgres.db.update(projects).set({ deletedAt: new Date() }).where(eq(projects.id, projectId));
    expect(await training.take(projectId)).toEqual(nothing);
  });

  test('a due project gives one automatic run of the newest revision, and is due no more', async () => {
    const { projectId } = await training.insertTrainable();
    const lease = await training.taken(projectId);
    expect(lease).toMatchObject({ projectId, attempt: 1, revision: 1, stage: 'head' });
    const [project] = await postgres.db.select().from(projects).where(eq(projects.id, projectId));
    expect(project).toMatchObject({ trainDueAt: null, dirtySince: null });
  });

  test('a run that another worker holds: a fresh delayed message takes the place of the one at hand', async () => {
    const { projectId } = await training.insertTrainable();
    await training.taken(projectId);
    // The message that made the project due arrived long ago.
    await postgres.sql`update projects set message_at = clock_timestamp() - interval '9 seconds'`;
    training.sent.length = 0;
    expect(await training.take(projectId)).toEqual(nothing);
    expect(training.sent).toEqual([{ projectId, delaySeconds: 5 }]);
    // And of many such messages one is left.
    expect(await training.take(projectId)).toEqual(nothing);
    expect(training.sent).toHaveLength(1);
  });

  test('a project that is due within a second: the worker holds the message', async () => {
    const { projectId } = await training.insertTrainable();
    await training.dueIn(projectId, 0.8);
    expect(await training.take(projectId)).toEqual({ kind: 'soon', seconds: expect.closeTo(0.8, 1) });
  });

  test('one that is due later gets a message for then, unless it has been dirty for too long', async () => {
    const { projectId } = await training.insertTrainable({ due: false });
    await training.raise(projectId);
    await training.dueIn(projectId, 30);
    await postgres.sql`update projects set message_at = clock_timestamp() - interval '9 seconds'`;
    training.sent.length = 0;
    expect(await training.take(projectId)).toEqual(nothing);
    expect(training.sent).toEqual([{ projectId, delaySeconds: 29 }]);
    const minuteAgo = sql`clock_timestamp() - interval '61 seconds'`;
    await postgres.db.update(projects).set({ dirtySince: minuteAgo }).where(eq(projects.id, projectId));
    expect(await training.take(projectId)).toMatchObject({ kind: 'taken' });
  });

  test('of many at once exactly one takes the run', async () => {
    const { projectId } = await training.insertTrainable();
    const results = await Promise.all(Array.from({ length: 8 }, () => training.take(projectId)));
    expect(results.map(({ kind }) => kind).sort()).toEqual([...Array(7).fill('nothing'), 'taken']);
  });

  test('too few images: no run, and due no more', async () => {
    const { projectId } = await training.insertTrainable();
    const [image] = await postgres.db.select().from(images).where(eq(images.projectId, projectId));
    await postgres.db.delete(images).where(eq(images.id, image!.id));
    expect(await training.take(projectId)).toEqual(nothing);
    expect(await postgres.db.select().from(runs).where(eq(runs.projectId, projectId))).toEqual([]);
  });

  test('a run that a learner asked for is taken though nothing is due', async () => {
    const { projectId } = await training.insertTrainable({ due: false });
    const asked = { projectId, revision: 0, automatic: false, stage: 'head' as const, backbone: 'efficientnet-lite2' };
    const [run] = await postgres.db
      .insert(runs)
      .values({ ...asked, state: 'queued' })
      .returning();
    expect(await training.taken(projectId)).toMatchObject({
      runId: run!.id,
      attempt: 1,
      backbone: 'efficientnet-lite2',
    });
  });
});

test.each([
  ['efficientnet-lite2', 'efficientnet-lite2'],
  ['efficientnet-lite2', 'timm/convnext_tiny.fb_in22k', 'efficientnet-lite2'],
  ['dinov2-small', 'efficientnet-lite0'],
])('what a learner chose (%s …) stays, as long as it is offered', async (...choices) => {
  const expected = choices.pop();
  const { projectId } = await training.insertTrainable();
  for (const [age, backbone] of choices.toReversed().entries()) {
    const run = await insertRun(postgres.db, projectId, 'succeeded', { automatic: false, backbone });
    await postgres.db.execute(sql`update runs set created_at = now() - ${age} * interval '1 minute' where id = ${run}`);
  }
  expect(await training.taken(projectId)).toMatchObject({ stage: 'head', backbone: expected });
});

describe('turns', () => {
  /** A due project of a learner who was served so many seconds ago, with another project. */
  async function served(secondsAgo: number | null) {
    const { sql: query } = postgres;
    const [session] = await query`insert into sessions (token_hash) values (${randomBytes(32)}) returning id`;
    const [project, other] = [await training.insertTrainable(), await training.insertTrainable({ due: false })];
    const ids = [project.projectId, other.projectId];
    await query`update projects set session_id = ${session!.id} where id in ${query(ids)}`;
    if (secondsAgo !== null) {
      await query`update projects set served_at = clock_timestamp() - make_interval(secs => ${secondsAgo})
        where id = ${other.projectId}`;
    }
    return project.projectId;
  }

  test('a message serves who was served longest ago, of those who never were the one that waits longest', async () => {
    const [greedy, early] = [await served(1), await served(9)];
    const [first, second] = [await served(null), await served(null)];
    for (const expected of [first, second, early, greedy]) {
      expect(await training.taken(greedy)).toMatchObject({ projectId: expected });
    }
    expect(await training.take(greedy)).toEqual(nothing);
  });

  test('who was served longest ago, or not for long, waits for nobody', async () => {
    const [first, second] = [await served(9), await served(1)];
    expect(await training.taken(first)).toMatchObject({ projectId: first });
    expect(await training.taken(second)).toMatchObject({ projectId: second });
    const [starving, third] = [await served(31), await served(null)];
    expect(await training.taken(starving)).toMatchObject({ projectId: starving });
    expect(await training.taken(third)).toMatchObject({ projectId: third });
  });

  test('a learner with many projects waits for who is about to be due, others do not', async () => {
    const [greedy, modest, soon] = [await served(1), await served(1), await served(null)];
    const { sql: query } = postgres;
    for (let one = 0; one < 2; one++) {
      const { projectId } = await training.insertTrainable({ due: false });
      await query`update projects set served_at = clock_timestamp(),
        session_id = (select session_id from projects where id = ${greedy}) where id = ${projectId}`;
    }
    await training.raise(soon);
    await training.dueIn(soon, 1.5);
    expect(await training.taken(modest)).toMatchObject({ projectId: modest });
    expect(await training.take(greedy)).toEqual(nothing);
    expect(training.sent.at(-1)).toEqual({ projectId: greedy, delaySeconds: 1 });
    await query`update projects set dirty_since = clock_timestamp() - interval '11 seconds' where id = ${soon}`;
    expect(await training.taken(greedy)).toMatchObject({ projectId: greedy });
  });

  test('a learner does not go before herself, nor who cannot train', async () => {
    const greedy = await served(1);
    const [few, early, gone] = [await served(null), await served(null), await served(null)];
    await postgres.sql`delete from images where project_id = ${few}`;
    await training.raise(early);
    await training.dueIn(early, 30);
    await postgres.sql`update projects set deleted_at = clock_timestamp() where id = ${gone}`;
    const { sql: query } = postgres;
    const own = await training.insertTrainable();
    await query`update projects set session_id = (select session_id from projects where id = ${greedy})
      where id = ${own.projectId}`;
    expect(await training.taken(greedy)).toMatchObject({ projectId: greedy });
    expect(await training.taken(own.projectId)).toMatchObject({ projectId: own.projectId });
  });

  test('a run that waits counts as what is due does; a fine-tuning once its project has been quiet', async () => {
    const greedy = await served(1);
    const [asks, tunes] = [
      (await training.insertTrainable({ due: false })).projectId,
      (await training.insertTrainable({ due: false })).projectId,
    ];
    const tuning = await insertQueued(tunes, 'fine-tune');
    await postgres.sql`update projects set served_at = clock_timestamp() - interval '2 seconds' where id = ${tunes}`;
    const asked = await insertQueued(asks, 'head');
    expect(await training.taken(greedy)).toMatchObject({ runId: asked });
    expect(await training.taken(greedy)).toMatchObject({ projectId: greedy });
    await postgres.sql`update projects set served_at = clock_timestamp() - interval '21 seconds' where id = ${tunes}`;
    expect(await training.taken(greedy)).toMatchObject({ runId: tuning });
  });

  test('of many messages at once none is in vain, and nobody waits for another', async () => {
    const greedy = await served(1);
    const others = await Promise.all(Array.from({ length: 3 }, () => served(null)));
    const results = await Promise.all(Array.from({ length: 8 }, () => training.take(greedy)));
    const leases = results.flatMap((result) => (result.kind === 'taken' ? [result.lease.projectId] : []));
    expect(new Set(leases).size).toBe(leases.length);
    expect(leases).toContain(greedy);
    for (const other of others) if (!leases.includes(other)) expect(await training.taken(other)).toBeTruthy();
  });
});

describe('fine-tuning', () => {
  test('waits for what the learner changed, and for a head that was asked for', async () => {
    const { projectId } = await training.insertTrainable();
    const tuning = await insertQueued(projectId, 'fine-tune');
    const automatic = await training.taken(projectId);
    expect(automatic).toMatchObject({ stage: 'head' });
    expect(await training.take(projectId)).toEqual(nothing);
    await postgres.db.update(runs).set({ state: 'succeeded' }).where(eq(runs.id, automatic.runId));
    const asked = await insertQueued(projectId, 'head');
    expect(await training.taken(projectId)).toMatchObject({ runId: asked, stage: 'head' });
    await postgres.db.update(runs).set({ state: 'cancelled' }).where(eq(runs.id, asked));
    expect(await training.taken(projectId)).toMatchObject({ runId: tuning, stage: 'fine-tune' });
  });

  test('is not begun while a change settles', async () => {
    const { projectId } = await training.insertTrainable({ due: false });
    await training.raise(projectId);
    await training.dueIn(projectId, 30);
    await insertQueued(projectId, 'fine-tune');
    expect(await training.take(projectId)).toEqual(nothing);
  });

  test('a new head trains while a fine-tuning is under way', async () => {
    const { projectId } = await training.insertTrainable({ due: false });
    const tuning = await insertQueued(projectId, 'fine-tune');
    expect(await training.taken(projectId)).toMatchObject({ runId: tuning });
    expect(await training.take(projectId)).toEqual(nothing);
    await training.raise(projectId);
    expect(await training.taken(projectId)).toMatchObject({ stage: 'head', revision: 1 });
    expect((await training.runOf(tuning)).state).toBe('running');
  });
});

test('the uploads that are still pending are waited for, and what is rejected last ends the wait', async () => {
  const { projectId, classIds } = await training.insertTrainable({ due: false });
  const pending = await insertImage(postgres.db, { projectId, classId: classIds[0]! });
  await training.raise(projectId);
  expect(training.sent).toEqual([{ projectId, delaySeconds: 3 }]);
  expect(await training.take(projectId)).toEqual(nothing);
  await postgres.db.delete(images).where(eq(images.id, pending.id));
  await training.raise(projectId);
  expect(training.sent).toEqual([
    { projectId, delaySeconds: 3 },
    { projectId, delaySeconds: 0 },
  ]);
  expect(await training.take(projectId)).toMatchObject({ kind: 'taken' });
});

test('after four automatic trainings in a row the next one waits for a slot', async () => {
  const { projectId } = await training.insertTrainable({ due: false });
  for (let run = 0; run < 4; run++) {
    await training.raise(projectId);
    const { runId } = await training.taken(projectId);
    await postgres.db.update(runs).set({ state: 'succeeded' }).where(eq(runs.id, runId));
  }
  await postgres.sql`update projects set message_at = clock_timestamp() - interval '9 seconds'`;
  training.sent.length = 0;
  await training.raise(projectId);
  expect(await training.take(projectId)).toEqual(nothing);
  expect(training.sent).toEqual([{ projectId, delaySeconds: expect.closeTo(18, -1) }]);
});
