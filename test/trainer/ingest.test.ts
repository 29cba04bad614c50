/** Upload events to images, on a real Postgres, the real S3 and SQS protocols and the real decoder. */
import { tmpdir } from 'node:os';
import { eq } from 'drizzle-orm';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { embeddings, images, projects } from '#shared/schema.ts';
import { createIngest } from '../../trainer/ingest.ts';
import { createPictures } from '../../trainer/pictures.ts';
import { createPythonChild, type PythonChild } from '../../trainer/python-child.ts';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../support/bucket.ts';
import { draw } from '../support/pictures.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { insertImage, insertProject } from '../support/rows.ts';

const log = pino({ level: 'silent' });
let postgres: TestDatabase;
let aws: TestBucketAndQueues;
let child: PythonChild;
let ingest: (body: string) => Promise<void>;
let project: Awaited<ReturnType<typeof insertProject>>;

beforeAll(async () => {
  [postgres, aws] = await Promise.all([createTestDatabase(), startTestBucketAndQueues()]);
  const options = { python: '.venv/bin/python', root: process.cwd(), threads: 1, cache: '.data/models', device: 'cpu' };
  child = createPythonChild({ ...options, role: 'ingest', log });
  ingest = createIngest({
    db: postgres.db,
    bucket: aws.bucket,
    queues: aws.queues,
    pictures: createPictures(child, { pixels: 25e6, log }),
    settings: { BACKBONES: ['efficientnet-lite0'], SETTLE_SECONDS: 0, IMAGE_BYTES: 1_000_000, SCRATCH: tmpdir() },
    log,
  });
});
afterAll(async () => {
  await child?.close();
  await aws?.close();
  await postgres?.close();
});
beforeEach(async () => {
  project = await insertProject(postgres.db);
});

/** An image that is pending, with what was uploaded for it. */
async function uploaded(data: Uint8Array) {
  const image = await insertImage(postgres.db, { projectId: project.id, classId: project.classIds[0]! });
  await aws.bucket.put(image.key, data, 'image/jpeg');
  const { etag } = (await aws.bucket.head(image.key))!;
  return { ...image, etag };
}
const event = (
  key: string,
  { etag, name = 'ObjectCreated:Post', sequencer = '01' }: { etag?: string; name?: string; sequencer?: string } = {},
) => ({
  eventName: name,
  s3: { bucket: { name: 'b' }, object: { key: encodeURIComponent(key), eTag: etag, sequencer } },
});
const message = (...Records: object[]) => JSON.stringify({ Records });
const imageOf = async (id: string) => (await postgres.db.select().from(images).where(eq(images.id, id)))[0];
const revision = async () =>
  (await postgres.db.select().from(projects).where(eq(projects.id, project.id)))[0]!.revision;
const messages = async () =>
  (await aws.drain(aws.settings.TRAINING_QUEUE_URL)).filter(
    (one) => (one as { projectId: string }).projectId === project.id,
  );

test('an uploaded picture becomes ready, with embedding and thumbnail, and the project is announced', async () => {
  const { id, key, etag } = await uploaded(await draw('dots', 1));
  await ingest(message(event(key, { etag })));
  expect(await imageOf(id)).toMatchObject({ state: 'ready', etag, width: 320, height: 240, type: 'image/jpeg' });
  const [embedding] = await postgres.db.select().from(embeddings).where(eq(embeddings.imageId, id));
  expect(embedding!.vector.length).toBe(2688 * 4);
  expect(embedding!.seconds).toBeGreaterThan(0);
  expect(await aws.bucket.head(`thumbnails/${project.id}/${id}.webp`)).not.toBeNull();
  expect(await revision()).toBe(1);
  expect(await messages()).toHaveLength(1);
});

test('events come five times over and in any order: one revision for what they change', async () => {
  const all = await Promise.all(Array.from({ length: 6 }, async (_, seed) => uploaded(await draw('stripes', seed))));
  const events = all.flatMap(({ key, etag }) => Array(5).fill(event(key, { etag })));
  events.sort((a, b) => (JSON.stringify(a).length % 3) - (JSON.stringify(b).length % 2));
  await Promise.all([message(...events.slice(0, 11)), message(...events.slice(11))].map(ingest));
  for (const { id, key } of all) {
    expect((await imageOf(id))!.state).toBe('ready');
    for (const one of [key, `thumbnails/${project.id}/${id}.webp`]) expect(await aws.bucket.head(one)).not.toBeNull();
  }
  const before = await revision();
  await ingest(message(...events));
  expect(await revision()).toBe(before);
  expect(before).toBeLessThanOrEqual(6);
});

test('an event delivered again announces the project again while it is due', async () => {
  const { key, etag } = await uploaded(await draw('dots', 2));
  await ingest(message(event(key, { etag })));
  expect(await messages()).toHaveLength(1);
  await ingest(message(event(key, { etag })));
  // A second's distance to the first message is kept.
  await expect.poll(messages, { timeout: 5000 }).toHaveLength(1);
});

test('a later overwrite is never taken', async () => {
  const { id, key, etag } = await uploaded(await draw('dots', 3));
  await ingest(message(event(key, { etag })));
  await aws.bucket.put(key, await draw('stripes', 3), 'image/jpeg');
  const { etag: other } = (await aws.bucket.head(key))!;
  await ingest(message(event(key, { etag: other, sequencer: '02' })));
  expect(await imageOf(id)).toMatchObject({ etag, state: 'ready' });
  expect(await revision()).toBe(1);
});

test('what is no picture, or too large a file, is rejected with its reason; the revision stays', async () => {
  const [text, large] = [await uploaded(Buffer.from('no picture')), await uploaded(new Uint8Array(1_000_001))];
  await ingest(message(event(text.key), event(large.key)));
  expect(await imageOf(text.id)).toMatchObject({ state: 'rejected', reason: { code: 'not-an-image' } });
  expect(await imageOf(large.id)).toMatchObject({ state: 'rejected', reason: { code: 'too-large' } });
  expect(await revision()).toBe(0);
});

test('an object whose image or project is gone is deleted', async () => {
  const { id, key } = await uploaded(await draw('dots', 4));
  await postgres.db.delete(images).where(eq(images.id, id));
  await ingest(message(event(key)));
  expect(await aws.bucket.head(key)).toBeNull();
  const second = await uploaded(await draw('dots', 5));
  await postgres.db.update(projects).set({ deletedAt: new Date() }).where(eq(projects.id, project.id));
  await ingest(message(event(second.key)));
  expect(await aws.bucket.head(second.key)).toBeNull();
});

test('an object deleted in the bucket takes its image along; a late or false event does not', async () => {
  const { id, key, etag } = await uploaded(await draw('dots', 6));
  await ingest(message(event(key, { etag, sequencer: '05' })));
  await ingest(message(event(key, { name: 'ObjectRemoved:Delete', sequencer: '06' })));
  expect((await imageOf(id))!.state).toBe('ready');
  await aws.bucket.delete([key]);
  await ingest(message(event(key, { name: 'ObjectRemoved:Delete', sequencer: '04' })));
  expect((await imageOf(id))!.state).toBe('ready');
  await ingest(message(event(key, { name: 'ObjectRemoved:Delete', sequencer: '06' })));
  expect(await imageOf(id)).toBeUndefined();
  expect(await revision()).toBe(2);
});

test('strange keys, test events and other events are nothing; what is no event comes again', async () => {
  await ingest(
    message(event('uploads/../etc/passwd'), event('uploads/고양이 + 1.jpg'), event('x', { name: 'Replication:Done' })),
  );
  await ingest(JSON.stringify({ Event: 's3:TestEvent' }));
  await expect(ingest('not json')).rejects.toThrow('Expected an S3 event');
  await expect(ingest('{}')).rejects.toThrow('Expected an S3 event');
});
