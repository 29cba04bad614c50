/** The one list of a training's images, on a real Postgres and the real S3 protocol. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { embeddingSpace } from '#shared/backbones.ts';
import { embeddings } from '#shared/schema.ts';
import { type Dataset, narrow, readDataset, writeRecords } from '../../trainer/dataset.ts';
import { embedMissing } from '../../trainer/embeddings.ts';
import type { Lease } from '../../trainer/lease.ts';
import type { Pictures } from '../../trainer/pictures.ts';
import { createFineTuneStage } from '../../trainer/stages/fine-tune-stage.ts';
import { createHeadStage } from '../../trainer/stages/head-stage.ts';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../support/bucket.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { insertImage, insertProject } from '../support/rows.ts';

let postgres: TestDatabase;
let aws: TestBucketAndQueues;
let folder: string;
let project: Awaited<ReturnType<typeof insertProject>>;
beforeAll(async () => {
  [postgres, aws] = await Promise.all([createTestDatabase(), startTestBucketAndQueues()]);
});
afterAll(async () => {
  await aws?.close();
  await postgres?.close();
});
beforeEach(async () => {
  project = await insertProject(postgres.db);
  folder = await mkdtemp(join(tmpdir(), 'ai-teacher-dataset-'));
  return () => rm(folder, { recursive: true, force: true });
});

const signal = new AbortController().signal;
const leaseOf = (projectId: string): Lease => ({
  ...{ runId: crypto.randomUUID(), projectId, attempt: 1, revision: 1, stage: 'head', backbone: 'b', waited: 0 },
});
const digest = (data: Uint8Array) => createHash('sha256').update(data).digest();

/** Stands for the network: the embedding of a file is the digest of its bytes. */
const seen: string[][] = [];
const pictures: Pictures = {
  embed: async (_, files) => {
    seen.push(await readdir(join(folder, 'originals')));
    return await Promise.all(
      files.map(async ({ path }) => {
        const data = await readFile(path);
        if (data.toString().startsWith('unreadable')) return { reason: { code: 'damaged', params: {}, message: '' } };
        return { width: 1, height: 1, type: 'image/png', embedding: digest(data), seconds: 1 };
      }),
    );
  },
};

/** Ready images by turns in the classes, each with an original that differs. */
async function insertImages(count: number, contentOf = (index: number) => `original ${index}`) {
  return await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const classId = project.classIds[index % project.classIds.length]!;
      const image = await insertImage(postgres.db, { projectId: project.id, classId, state: 'ready' });
      const data = Buffer.from(contentOf(index));
      await aws.bucket.put(image.key, data, 'image/png');
      const { etag } = (await aws.bucket.head(image.key))!;
      await postgres.sql`update images set etag = ${etag}, created_at = timestamptz '2026-01-01' + ${index} * interval '1 second'
        where id = ${image.id}`;
      return { ...image, classId, data };
    }),
  );
}

async function gather(stage: 'head' | 'fine-tune') {
  const scratch = {
    originals: join(folder, 'originals'),
    thumbnails: join(folder, 'thumbnails'),
    checkpoint: join(folder, 'checkpoint'),
  };
  await mkdir(scratch.originals);
  await mkdir(scratch.thumbnails);
  const lease = leaseOf(project.id);
  const deps = { postgres, bucket: aws.bucket, pictures, settings: { FINE_TUNE_SECONDS: 1 } };
  const read = await readDataset(postgres.db, lease);
  const embedded = await embedMissing(deps, lease, read, scratch.originals, signal);
  const never = new AbortController().signal;
  const stages = { head: createHeadStage(never, Promise.resolve(false)), 'fine-tune': createFineTuneStage(never) };
  const { dataset } = await stages[stage].gather(deps, lease, embedded, scratch, signal);
  return { dataset, originals: await readdir(scratch.originals) };
}

/** The records as the Python program reads them. */
function parseRecords(dataset: Dataset) {
  const bytes = Buffer.concat([...writeRecords(dataset)]);
  const size = 36 + 4 + 4 + 32;
  expect(bytes.length).toBe(dataset.images.length * size);
  return Array.from({ length: dataset.images.length }, (_, index) => {
    const record = bytes.subarray(index * size, (index + 1) * size);
    return {
      id: record.toString('ascii', 0, 36),
      class: record.readInt32LE(36),
      burst: record.readInt32LE(40),
      embedding: record.subarray(44),
    };
  });
}

test.each(['head', 'fine-tune'] as const)(
  '39: %s: originals that are replaced or deleted: every row of 1,000 keeps its own class, embedding and file',
  async (stage) => {
    const images = await insertImages(1000);
    // Half of the embeddings are cached; of those images, too, originals go.
    const cached = images.filter((_, index) => index % 2 === 0);
    await postgres.db
      .insert(embeddings)
      .values(cached.map(({ id, data }) => ({ imageId: id, space: embeddingSpace('b'), vector: digest(data) })));
    const [deleted, replaced] = [7, 11].map((step) => images.filter((_, index) => index % step === 3));
    await aws.bucket.delete(deleted!.map(({ key }) => key));
    for (const { key } of replaced!) await aws.bucket.put(key, Buffer.from('another'), 'image/png');
    const gone = new Set([...deleted!, ...replaced!].map(({ id }) => id));

    const { dataset, originals } = await gather(stage);
    const own = new Map(images.map((image) => [image.id as string, image]));
    const records = parseRecords(dataset);
    const wrong = records.filter(({ id, class: index, embedding }) => {
      const image = own.get(id)!;
      return project.classIds[index] !== image.classId || !digest(image.data).equals(embedding);
    });
    expect(wrong).toEqual([]);
    const isCached = new Set(cached.map(({ id }) => id));
    const left = images.filter(({ id }) => !gone.has(id) || (stage === 'head' && isCached.has(id)));
    expect(records.map(({ id }) => id)).toEqual(left.map(({ id }) => id));
    for (const id of originals) {
      expect(digest(await readFile(join(folder, 'originals', id)))).toEqual(digest(own.get(id)!.data));
    }
    if (stage === 'fine-tune') expect(originals.sort()).toEqual(left.map(({ id }) => id).sort());
  },
  120_000,
);

test('originals are on the scratch disk only while they are embedded', async () => {
  await insertImages(40);
  seen.length = 0;
  const { originals } = await gather('head');
  expect(seen.length).toBeGreaterThanOrEqual(3);
  for (const files of seen) expect(files.length).toBeLessThanOrEqual(16);
  // What is left are the few that the files of the model are checked on.
  expect(originals).toHaveLength(8);
});

test('a class whose images cannot be used any more is left out, and the others keep their order', async () => {
  project = await insertProject(postgres.db, 'three', ['a', 'b', 'c']);
  await insertImages(9, (index) => (index % 3 === 1 && index > 1 ? `unreadable ${index}` : `original ${index}`));
  const { dataset } = await gather('head');
  expect(dataset.classes.map(({ name }) => name)).toEqual(['a', 'c']);
  expect(new Set(parseRecords(dataset).map((record) => record.class))).toEqual(new Set([0, 1]));
});

test('frames of a burst have one number in the records, images of none have none', async () => {
  const images = await insertImages(8);
  for (const [index, burst] of ['one', 'two', 'one', null].entries()) {
    await postgres.sql`update images set burst = ${burst} where id = ${images[index]!.id}`;
  }
  const { dataset } = await gather('head');
  const bursts = parseRecords(dataset).map(({ burst }) => burst);
  expect(bursts[0]).toBe(bursts[2]);
  expect(bursts[1]).not.toBe(bursts[0]);
  expect(Math.min(bursts[0]!, bursts[1]!)).toBeGreaterThanOrEqual(0);
  expect(bursts.slice(3)).toEqual(Array(5).fill(-1));
});

test('embeddings of an older version of the features are computed again, and their rows go', async () => {
  const images = await insertImages(4);
  const old = images.map(({ id }) => ({ imageId: id, space: 'b', vector: Buffer.alloc(8) }));
  const other = images.map(({ id }) => ({ imageId: id, space: 'bb', vector: Buffer.alloc(8) }));
  await postgres.db.insert(embeddings).values([...old, ...other]);
  const { dataset } = await gather('head');
  expect(parseRecords(dataset).map(({ embedding }) => embedding)).toEqual(images.map(({ data }) => digest(data)));
  const spaces =
    await postgres.sql`select distinct backbone from embeddings where image_id = ${images[0]!.id} order by 1`;
  expect(spaces.map(({ backbone }) => backbone)).toEqual([embeddingSpace('b'), 'bb']);
});

test('narrowing keeps the images of the classes that have enough of them', () => {
  const image = (classId: string, id: string) => ({
    ...{ id, classId, key: '', etag: null, burst: null, embedding: null, seconds: 0 },
  });
  const images = [image('a', '1'), image('b', '2'), image('a', '3'), image('b', '4'), image('c', '5')];
  const classes = ['a', 'b', 'c'].map((id) => ({ id, name: id }));
  const narrowed = narrow({ classes, images }, ({ id }) => id !== '4');
  expect(narrowed.classes.map(({ id }) => id)).toEqual(['a']);
  expect(narrowed.images.map(({ id }) => id)).toEqual(['1', '3']);
});
