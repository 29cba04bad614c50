import { randomUUID } from 'node:crypto';
import { PutBucketVersioningCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { thumbnailKey, uploadKey } from '#shared/keys.ts';
import { eraseOrphans, eraseProjects, oncePerDay } from '../../../functions/maintain/erase.ts';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../../support/bucket.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';
import { insertImage, insertModel, insertProject } from '../../support/rows.ts';

const settings = { PROJECT_DAYS: 180 };
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
  await Promise.all(['uploads/', 'thumbnails/'].map((prefix) => aws.bucket.erase(prefix)));
});

const put = (key: string) => aws.bucket.put(key, Buffer.from('abc'), 'image/jpeg');
async function keys(): Promise<string[]> {
  const found: string[] = [];
  for (const prefix of ['uploads/', 'thumbnails/'])
    for await (const { key } of aws.bucket.list(prefix)) found.push(key);
  return found.sort();
}
/** A project with a model and one image, of which there are both objects. */
async function fill() {
  const { id, classIds } = await insertProject(postgres.db);
  const image = await insertImage(postgres.db, { projectId: id, classId: classIds[0]!, state: 'ready' });
  await insertModel(postgres, id, { 'labels.txt': Buffer.from('a') });
  const objects = [image.key, thumbnailKey(id, image.id)];
  await Promise.all(objects.map(put));
  return { id, imageId: image.id, objects };
}
const rows = async (id: string) =>
  (
    await postgres.sql`select (select count(*)::int from projects where id = ${id}) as projects,
    (select count(*)::int from models where project_id = ${id}) as models,
    (select count(*)::int from images where project_id = ${id}) as images`
  )[0];

test('a deleted project: its objects at once, to the last version; its rows when no link of it lives', async () => {
  await aws.s3.send(
    new PutBucketVersioningCommand({ Bucket: aws.bucket.name, VersioningConfiguration: { Status: 'Enabled' } }),
  );
  const [gone, kept] = [await fill(), await fill()];
  await put(gone.objects[0]!);
  await aws.bucket.delete([gone.objects[0]!]);
  await postgres.sql`update projects set deleted_at = now() where id = ${gone.id}`;
  expect(await eraseProjects(postgres.db, aws.bucket, settings)).toBe(0);
  expect(await keys()).toEqual(kept.objects.sort());
  expect(await aws.bucket.erase(`uploads/${gone.id}/`)).toBe(0);
  expect(await rows(gone.id)).toEqual({ projects: 1, models: 1, images: 1 });

  // A link that was given before the deletion still brought something.
  await put(gone.objects[0]!);
  await postgres.sql`update projects set deleted_at = now() - interval '11 minutes' where id = ${gone.id}`;
  expect(await eraseProjects(postgres.db, aws.bucket, settings)).toBe(1);
  expect(await aws.bucket.erase(`uploads/${gone.id}/`)).toBe(0);
  expect(await rows(gone.id)).toEqual({ projects: 0, models: 0, images: 0 });
  expect(await rows(kept.id)).toEqual({ projects: 1, models: 1, images: 1 });
  await aws.s3.send(
    new PutBucketVersioningCommand({ Bucket: aws.bucket.name, VersioningConfiguration: { Status: 'Suspended' } }),
  );
});

test('a project that nobody used for long goes the same way', async () => {
  const [unused, used] = [await fill(), await fill()];
  await postgres.sql`update projects set used_at = now() - interval '181 days' where id = ${unused.id}`;
  await postgres.sql`update projects set used_at = now() - interval '179 days' where id = ${used.id}`;
  await eraseProjects(postgres.db, aws.bucket, settings);
  expect(await keys()).toEqual(used.objects.sort());
  const deleted = await postgres.sql`select id from projects where deleted_at is not null`;
  expect(deleted.map(({ id }) => id)).toEqual([unused.id]);
});

test('a project that cannot be erased does not keep the others, and is told of', async () => {
  const [stuck, gone] = [await fill(), await fill()];
  await postgres.sql`update projects set deleted_at = now() - interval '1 hour'`;
  const erase = (prefix: string) =>
    prefix.includes(stuck.id) ? Promise.reject(new Error('503')) : aws.bucket.erase(prefix);
  await expect(eraseProjects(postgres.db, { ...aws.bucket, erase }, settings)).rejects.toThrow('1 projects');
  expect(await rows(gone.id)).toMatchObject({ projects: 0 });
  expect(await rows(stuck.id)).toMatchObject({ projects: 1 });
  expect(await keys()).toEqual(stuck.objects.sort());
});

test('objects without an image go; those with one, strange ones and fresh ones stay', async () => {
  const { id, objects } = await fill();
  const ids = { projectId: id, classId: randomUUID(), imageId: randomUUID() };
  const orphans = [uploadKey(ids), thumbnailKey(id, ids.imageId)];
  const strange = ['uploads/readme.txt', 'thumbnails/x.webp'];
  await Promise.all([...orphans, ...strange].map(put));
  expect(await eraseOrphans(postgres.db, aws.bucket)).toBe(0);
  expect(await eraseOrphans(postgres.db, aws.bucket, { ageSeconds: 0 })).toBe(2);
  expect(await keys()).toEqual([...objects, ...strange].sort());
});

test('a database that knows none of the bucket’s objects deletes none', async () => {
  const orphans = Array.from({ length: 12 }, () => thumbnailKey(randomUUID(), randomUUID()));
  await Promise.all(orphans.map(put));
  await expect(eraseOrphans(postgres.db, aws.bucket, { ageSeconds: 0, suspicious: 10 })).rejects.toThrow(
    'DATABASE_URL',
  );
  expect(await keys()).toEqual(orphans.sort());
  expect(await eraseOrphans(postgres.db, aws.bucket, { ageSeconds: 0, most: 12 })).toBe(12);
});

test('the sweep is one a day, whoever asks; one that failed is due again', async () => {
  const sweep = async () => 'swept';
  await expect(oncePerDay(postgres.db, () => Promise.reject(new Error('503')))).rejects.toThrow('503');
  const asked = await Promise.all(Array.from({ length: 5 }, () => oncePerDay(postgres.db, sweep)));
  expect(asked.filter((answer) => answer === 'swept')).toHaveLength(1);
  await postgres.sql`update rate_limits set started_at = now() - interval '25 hours'`;
  expect(await oncePerDay(postgres.db, sweep)).toBe('swept');
  expect(await oncePerDay(postgres.db, sweep)).toBeNull();
});
