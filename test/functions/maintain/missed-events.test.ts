import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { parseObjectEvents } from '#shared/events.ts';
import { images } from '#shared/schema.ts';
import { findMissedEvents } from '../../../functions/maintain/missed-events.ts';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../../support/bucket.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';
import { ago, insertImage, insertProject } from '../../support/rows.ts';

const settings = { MISSED_EVENT_SECONDS: 120, UPLOAD_LAPSE_SECONDS: 600 };
let postgres: TestDatabase;
let aws: TestBucketAndQueues;
let place: { projectId: string; classId: string };

beforeAll(async () => {
  [postgres, aws] = await Promise.all([createTestDatabase(), startTestBucketAndQueues()]);
});
afterAll(async () => {
  await Promise.all([aws.close(), postgres.close()]);
});
beforeEach(async () => {
  await postgres.sql`delete from projects`;
  const project = await insertProject(postgres.db);
  place = { projectId: project.id, classId: project.classIds[0]! };
});

const run = (bucket = aws.bucket) => findMissedEvents({ db: postgres.db, bucket, queues: aws.queues, settings });
const stateOf = async (id: string) => (await postgres.db.select().from(images).where(eq(images.id, id)))[0];
/** The object, and nothing on the queue any more: its event went astray. */
async function putSilently(key: string) {
  await aws.bucket.put(key, Buffer.from('abc'), 'image/jpeg');
  await expect.poll(async () => (await aws.drain(aws.settings.UPLOADS_QUEUE_URL)).length).toBeGreaterThan(0);
}

test('an object whose event never came gets one that reads as S3’s own', async () => {
  const image = await insertImage(postgres.db, { ...place, linkedAgo: 121 });
  await putSilently(image.key);
  expect(await run()).toEqual({ found: 1, lapsed: 0 });
  const messages = await aws.drain(aws.settings.UPLOADS_QUEUE_URL);
  const stored = await aws.bucket.head(image.key);
  expect(messages.flatMap((message) => parseObjectEvents(JSON.stringify(message)))).toEqual([
    { kind: 'created', bucket: aws.bucket.name, key: image.key, etag: stored!.etag, sequencer: null },
  ]);
  expect((await stateOf(image.id))?.state).toBe('pending');
});

test('what is young, done, or of a deleted project is left alone', async () => {
  const young = await insertImage(postgres.db, { ...place, linkedAgo: 100 });
  await insertImage(postgres.db, { ...place, linkedAgo: 9999, state: 'ready' });
  const gone = await insertProject(postgres.db);
  await insertImage(postgres.db, { projectId: gone.id, classId: gone.classIds[0]!, linkedAgo: 9999 });
  await postgres.sql`update projects set deleted_at = now() where id = ${gone.id}`;
  expect(await run()).toEqual({ found: 0, lapsed: 0 });
  expect((await stateOf(young.id))?.state).toBe('pending');
});

test('an upload that never came is waited for, then rejected with a reason', async () => {
  const waiting = await insertImage(postgres.db, { ...place, linkedAgo: 599 });
  const lapsed = await insertImage(postgres.db, { ...place, linkedAgo: 601 });
  expect(await run()).toEqual({ found: 0, lapsed: 1 });
  expect(await stateOf(lapsed.id)).toMatchObject({ state: 'rejected', reason: { code: 'never-arrived', params: {} } });
  expect((await stateOf(waiting.id))?.state).toBe('pending');
});

test('an upload that got a fresh link while it was looked for is not rejected', async () => {
  const image = await insertImage(postgres.db, { ...place, linkedAgo: 601 });
  const bucket = {
    ...aws.bucket,
    head: async (key: string) => {
      await postgres.db
        .update(images)
        .set({ linkedAt: ago(0) })
        .where(eq(images.id, image.id));
      return aws.bucket.head(key);
    },
  };
  expect(await run(bucket)).toEqual({ found: 0, lapsed: 0 });
  expect((await stateOf(image.id))?.state).toBe('pending');
});

test('a moved image is looked for where it was uploaded', async () => {
  const image = await insertImage(postgres.db, { ...place, linkedAgo: 999 });
  await putSilently(image.key);
  const elsewhere = (
    await postgres.sql`select id from classes where project_id = ${place.projectId} and id <> ${place.classId}`
  )[0];
  await postgres.sql`update images set class_id = ${elsewhere?.id} where id = ${image.id}`;
  expect(await run()).toEqual({ found: 1, lapsed: 0 });
  await aws.drain(aws.settings.UPLOADS_QUEUE_URL);
});

test('200 at once: each is looked for, and those that are there are found', async () => {
  const made = await Promise.all(
    Array.from({ length: 200 }, () => insertImage(postgres.db, { ...place, linkedAgo: 700 })),
  );
  const there = made.filter((_, index) => index % 4 === 0);
  await Promise.all(there.map(({ key }) => aws.bucket.put(key, Buffer.from('abc'), 'image/jpeg')));
  await new Promise((resolve) => setTimeout(resolve, 300));
  await aws.drain(aws.settings.UPLOADS_QUEUE_URL);
  expect(await run()).toEqual({ found: 50, lapsed: 150 });
  const keys = (await aws.drain(aws.settings.UPLOADS_QUEUE_URL))
    .flatMap((message) => parseObjectEvents(JSON.stringify(message)))
    .map(({ key }) => key);
  expect(keys.sort()).toEqual(there.map(({ key }) => key).sort());
});
