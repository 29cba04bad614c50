import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { pruneModels } from '../../../functions/maintain/models.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';
import { ago, insertModel, insertProject, insertRun } from '../../support/rows.ts';

let postgres: TestDatabase;
let projectId: string;
beforeAll(async () => {
  postgres = await createTestDatabase();
});
afterAll(() => postgres.close());
beforeEach(async () => {
  await postgres.sql`delete from projects`;
  projectId = (await insertProject(postgres.db)).id;
});

const files = { 'labels.txt': Buffer.from('a') };
const add = async (createdAgo: number, options: { published?: boolean; runId?: string } = {}) =>
  (await insertModel(postgres, projectId, files, { createdAgo, ...options })).id;
const left = async () => (await postgres.sql`select id from models order by created_at desc`).map(({ id }) => id);

test('the newest stay, and the current one however old', async () => {
  const current = await add(500);
  const [third, second, first] = [await add(300), await add(200), await add(100)];
  await add(400);
  await postgres.sql`update projects set current_model_id = ${current} where id = ${projectId}`;
  const other = await insertProject(postgres.db);
  const others = await insertModel(postgres, other.id, files, { createdAgo: 1000 });
  expect(await pruneModels(postgres.db, 3)).toBe(1);
  expect(await left()).toEqual([first, second, third, current, others.id]);
  expect(await postgres.sql`select distinct model_id from chunks`).toHaveLength(5);
});

test('what a lost attempt left behind goes; what is being written stays', async () => {
  const writing = await insertRun(postgres.db, projectId, 'running', { attempt: 1, leaseExpiresAt: ago(-20) });
  const other = await insertProject(postgres.db);
  const takenOver = await insertRun(postgres.db, other.id, 'running', { attempt: 2, leaseExpiresAt: ago(-20) });
  const cancelled = await insertRun(postgres.db, projectId, 'cancelled');
  const kept = await add(120, { published: false, runId: writing });
  await add(120, { published: false, runId: takenOver });
  await add(120, { published: false, runId: cancelled });
  expect(await pruneModels(postgres.db, 3)).toBe(2);
  expect(await left()).toEqual([kept]);
});
