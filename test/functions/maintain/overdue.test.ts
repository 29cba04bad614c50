import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { projects } from '#shared/schema.ts';
import { remindOverdue } from '../../../functions/maintain/overdue.ts';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../../support/bucket.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';
import { ago, insertProject, insertRun } from '../../support/rows.ts';

let postgres: TestDatabase;
let aws: TestBucketAndQueues;
beforeAll(async () => {
  [postgres, aws] = await Promise.all([createTestDatabase(), startTestBucketAndQueues()]);
});
afterAll(async () => {
  await Promise.all([aws.close(), postgres.close()]);
});
beforeEach(async () => {
  await postgres.sql`delete from projects`;
});

async function messages() {
  const sent = await remindOverdue({ db: postgres.db, queues: aws.queues, settings: { SETTLE_SECONDS: 3 } });
  const taken = await aws.drain(aws.settings.TRAINING_QUEUE_URL);
  expect(taken.length).toBe(sent);
  return taken;
}
const due = async (seconds: number) => {
  const { id } = await insertProject(postgres.db);
  await postgres.db
    .update(projects)
    .set({ trainDueAt: ago(seconds) })
    .where(eq(projects.id, id));
  return id;
};

test('a project that is long due gets a message; one that is due just now, or not at all, does not', async () => {
  const overdue = await due(40);
  await due(10);
  await due(-60);
  await insertProject(postgres.db);
  expect(await messages()).toEqual([{ projectId: overdue }]);
});

test('a run that was asked for and not begun gets its message', async () => {
  const { id: projectId } = await insertProject(postgres.db);
  await insertRun(postgres.db, projectId, 'queued', { createdAt: ago(40) });
  const other = await insertProject(postgres.db);
  await insertRun(postgres.db, other.id, 'queued', { createdAt: ago(5) });
  expect(await messages()).toEqual([{ projectId }]);
});

test('a run whose worker is gone gets a message; one that is alive is not', async () => {
  const [dead, alive] = [await insertProject(postgres.db), await insertProject(postgres.db)];
  await insertRun(postgres.db, dead.id, 'running', { createdAt: ago(500), leaseExpiresAt: ago(40) });
  await insertRun(postgres.db, alive.id, 'running', { createdAt: ago(500), leaseExpiresAt: ago(-20) });
  expect(await messages()).toEqual([{ projectId: dead.id }]);
});

test('what waits behind a run under way gets none', async () => {
  const projectId = await due(100);
  await insertRun(postgres.db, projectId, 'queued', { createdAt: ago(100) });
  await insertRun(postgres.db, projectId, 'running', { createdAt: ago(500), leaseExpiresAt: ago(-20) });
  expect(await messages()).toEqual([]);
});

test('what is over, and what is deleted, stays so', async () => {
  const projectId = await due(100);
  await postgres.sql`update projects set deleted_at = now() where id = ${projectId}`;
  await insertRun(postgres.db, projectId, 'queued', { createdAt: ago(100) });
  const { id } = await insertProject(postgres.db);
  for (const state of ['succeeded', 'failed', 'cancelled', 'superseded'] as const) {
    await insertRun(postgres.db, id, state, { createdAt: ago(100), leaseExpiresAt: ago(90) });
  }
  expect(await messages()).toEqual([]);
});
