import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseObjectEvents } from '#shared/events.ts';
import { parseTrainingMessage } from '#shared/queues.ts';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../../support/bucket.ts';

let aws: TestBucketAndQueues;
let folder: string;
beforeAll(async () => {
  aws = await startTestBucketAndQueues();
  folder = await mkdtemp(join(tmpdir(), 'ai-teacher-bucket-'));
});
afterAll(async () => {
  await aws.close();
  await rm(folder, { recursive: true });
});

const hangul = 'uploads/고양이 사진 + 1%.jpg';
const file = { type: 'image/jpeg', bytes: 10, seconds: 60 };

/** Sends `data` by a presigned POST, with some of its fields changed. */
async function send(key: string, data: Uint8Array, changed: Record<string, string> = {}, link = file) {
  const { url, fields } = await aws.bucket.presignUpload(key, link);
  const form = new FormData();
  for (const [name, value] of Object.entries({ ...fields, ...changed })) form.append(name, value);
  form.append('file', new Blob([data as BlobPart]));
  return (await fetch(url, { method: 'POST', body: form })).ok;
}
async function keys(prefix: string) {
  const found: string[] = [];
  for await (const { key } of aws.bucket.list(prefix)) found.push(key);
  return found;
}
/** The events of every message that comes within a moment. */
async function events() {
  await new Promise((resolve) => setTimeout(resolve, 300));
  const messages = await aws.drain(aws.settings.UPLOADS_QUEUE_URL);
  return messages.flatMap((message) => parseObjectEvents(JSON.stringify(message)));
}

test('a presigned upload puts its object, and no other, larger, or of another type', async () => {
  const data = Buffer.from('0123456789');
  expect(await send('uploads/a', data)).toBe(true);
  expect(await send('uploads/b', data, { key: 'uploads/other' })).toBe(false);
  expect(await send('uploads/b', data, { 'Content-Type': 'text/html' })).toBe(false);
  expect(await send('uploads/b', Buffer.from('01234567890'))).toBe(false);
  expect(await send('uploads/b', data, { 'X-Amz-Signature': '0'.repeat(64) })).toBe(false);
  expect(await keys('uploads/')).toEqual(['uploads/a']);
  expect(await send('uploads/empty', new Uint8Array())).toBe(true);
});

test('a link that is over puts nothing', async () => {
  const { url, fields } = await aws.bucket.presignUpload('uploads/late', { ...file, seconds: 1 });
  await new Promise((resolve) => setTimeout(resolve, 2100));
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append('file', new Blob(['x']));
  expect((await fetch(url, { method: 'POST', body: form })).status).toBe(403);
  expect(await aws.bucket.head('uploads/late')).toBeNull();
});

test('what an upload puts is told to the queue under its own name, and so is its removal', async () => {
  await events();
  await send(hangul, Buffer.from('abc'));
  await aws.bucket.delete([hangul]);
  await aws.bucket.put('thumbnails/x.webp', Buffer.from('x'), 'image/webp');
  const told = await events();
  expect(told.map(({ kind, key }) => [kind, key]).sort()).toEqual([
    ['created', hangul],
    ['removed', hangul],
  ]);
});

test('head, download and its conditions', async () => {
  await aws.bucket.put(hangul, Buffer.from('abc'), 'image/jpeg');
  const stored = (await aws.bucket.head(hangul))!;
  expect(stored).toMatchObject({ key: hangul, bytes: 3, etag: '900150983cd24fb0d6963f7d28e17f72' });
  expect(Math.abs(Date.now() - stored.modified.getTime())).toBeLessThan(10_000);
  const path = join(folder, 'file');
  expect(await aws.bucket.download(hangul, path, { etag: stored.etag })).toMatchObject({ bytes: 3 });
  expect(await readFile(path, 'utf8')).toBe('abc');
  expect(await aws.bucket.download(hangul, path, { etag: 'another' })).toBeNull();
  expect(await aws.bucket.download('uploads/none', path)).toBeNull();
  expect(await aws.bucket.head('uploads/none')).toBeNull();
  const left = join(folder, 'left');
  expect(await aws.bucket.download(hangul, left, { most: 2 })).toMatchObject({ bytes: 3 });
  await expect(readFile(left)).rejects.toThrow('ENOENT');
  const link = await aws.bucket.presignDownload(hangul, 60);
  expect(await (await fetch(link)).text()).toBe('abc');
});

test('lists, deletes and erases a thousand and some, and only those under the prefix', async () => {
  const made = Array.from({ length: 1005 }, (_, index) => `many/a/${String(index).padStart(4, '0')}`);
  for (let at = 0; at < made.length; at += 50) {
    await Promise.all(made.slice(at, at + 50).map((key) => aws.bucket.put(key, Buffer.from('x'), 'x/y')));
  }
  await aws.bucket.put('many/ab', Buffer.from('x'), 'x/y');
  expect(await keys('many/a/')).toEqual(made);
  await aws.bucket.delete(made.slice(0, 3).concat('many/a/never-was'));
  expect(await aws.bucket.erase('many/a/')).toBe(1002);
  expect(await keys('many/')).toEqual(['many/ab']);
});

test('an event that maintain sends reads as S3’s own', async () => {
  await events();
  await aws.queues.sendUpload({ bucket: 'b', key: hangul, etag: 'e', bytes: 3 });
  expect(await events()).toEqual([{ kind: 'created', bucket: 'b', key: hangul, etag: 'e', sequencer: null }]);
});

test('training messages: as they were sent, not before their delay', async () => {
  const projectId = '5f0c9f8e-53cf-4d54-9d5e-0d8ea6a2a8a1';
  const { TRAINING_QUEUE_URL } = aws.settings;
  await aws.queues.sendTraining({ projectId, runId: projectId });
  await aws.queues.sendTraining({ projectId }, 2);
  expect(await aws.drain(TRAINING_QUEUE_URL)).toEqual([{ projectId, runId: projectId }]);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(await aws.drain(TRAINING_QUEUE_URL)).toEqual([]);
  await expect.poll(() => aws.drain(TRAINING_QUEUE_URL), { timeout: 5000, interval: 200 }).toEqual([{ projectId }]);
});

test.each(['', '{}', '{"projectId":"x"}', 'null'])('%j is no training message', (body) => {
  expect(() => parseTrainingMessage(body)).toThrow(/^Expected \{projectId, runId\?\}/);
});
