import { spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../../support/bucket.ts';
import { freePort } from '../../support/ports.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';
import { ago, insertImage, insertProject, insertRun } from '../../support/rows.ts';

let postgres: TestDatabase;
let aws: TestBucketAndQueues;
beforeAll(async () => {
  [postgres, aws] = await Promise.all([createTestDatabase(), startTestBucketAndQueues()]);
});
afterAll(async () => {
  await Promise.all([aws.close(), postgres.close()]);
});

/** The program itself, to its end. */
function maintain(changed: NodeJS.ProcessEnv = {}): Promise<{ code: number | null; output: string }> {
  const { BUCKET_ENDPOINT_URL: _, ...settings } = aws.settings;
  const child = spawn(process.execPath, ['functions/maintain/main.ts'], {
    env: { ...process.env, ...settings, DATABASE_URL: postgres.url, ...changed },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })));
}

async function addWork() {
  await postgres.sql`delete from projects`;
  const { id, classIds } = await insertProject(postgres.db);
  const image = await insertImage(postgres.db, { projectId: id, classId: classIds[0]!, linkedAgo: 700 });
  await insertRun(postgres.db, id, 'queued', { createdAt: ago(100) });
  return { id, imageId: image.id };
}

test('does every step, tells of each, and ends with 0; two at once do no harm', async () => {
  const { id, imageId } = await addWork();
  const ended = await Promise.all([maintain(), maintain()]);
  expect(ended.map(({ code }) => code)).toEqual([0, 0]);
  expect(ended[0]!.output.match(/"msg":"done"/g)).toHaveLength(7);
  expect(await postgres.sql`select state from images where id = ${imageId}`).toEqual([{ state: 'rejected' }]);
  expect((await aws.drain(aws.settings.TRAINING_QUEUE_URL))[0]).toEqual({ projectId: id });
});

test('a step that fails is told of in the exit code and keeps no other from being done', async () => {
  const { id } = await addWork();
  const { code, output } = await maintain({ AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${await freePort()}` });
  expect(code).toBe(1);
  expect(output).toContain('Failed: missed events');
  expect(await aws.drain(aws.settings.TRAINING_QUEUE_URL)).toContainEqual({ projectId: id });
});

test('a missing variable: one line that names it, and 2', async () => {
  const { code, output } = await maintain({ BUCKET: '' });
  expect([code, output]).toEqual([2, 'maintain: BUCKET is missing: name of the bucket.\n']);
});
