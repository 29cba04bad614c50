/** From an upload event to an image that is `ready` or `rejected`, recorded before the event is deleted. */
import { randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import DataLoader from 'dataloader';
import { and, eq, isNull, sql } from 'drizzle-orm';
import type { Bucket } from '#shared/bucket.ts';
import { type ChangeDeps, changeProject } from '#shared/change-project.ts';
import { detailOf } from '#shared/codes.ts';
import type { Database } from '#shared/database.ts';
import { compareSequencers, type ObjectEvent, parseObjectEvents } from '#shared/events.ts';
import { parseUploadKey, thumbnailKey, type UploadKey } from '#shared/keys.ts';
import type { Log } from '#shared/log.ts';
import { images, projects } from '#shared/schema.ts';
import type { SettingsOf } from '#shared/settings.ts';
import { type PictureFile, type PictureResult, type Pictures, picturesPerRequest } from './pictures.ts';
import { type IngestedImage, recordImages } from './record-images.ts';
import { asOutageIfDiskFull } from './room.ts';

interface IngestDeps extends ChangeDeps {
  bucket: Bucket;
  pictures: Pictures;
  settings: SettingsOf<'BACKBONES' | 'SETTLE_SECONDS' | 'IMAGE_BYTES' | 'SCRATCH'>;
  log: Log;
}

type FoundImage = NonNullable<Awaited<ReturnType<typeof findImage>>>;

/** @returns the handler of the `uploads` queue: it takes a message's body and resolves when all of its events are recorded. */
export function createIngest(deps: IngestDeps): (body: string) => Promise<void> {
  const { db, bucket, settings, log } = deps;
  const batches = createBatches(deps);

  return async (body) => {
    const events = parseObjectEvents(body);
    // A single bad event must not keep the others of its message from being recorded.
    const settled = await Promise.allSettled(events.map(handle));
    const failed = settled.find((result) => result.status === 'rejected');
    if (failed) throw await asOutageIfDiskFull(settings.SCRATCH, failed.reason);
  };

  async function handle(event: ObjectEvent): Promise<void> {
    const key = parseUploadKey(event.key);
    if (!key) {
      log.warn({ object: event.key }, 'an object that no upload made');
      return;
    }
    const image = await findImage(db, key);
    if (event.kind === 'removed') return await remove(deps, event, key, image);
    if (!image) return await bucket.delete([event.key]);
    if (image.state === 'pending') return await ingest(event, key);
    if (image.state === 'ready' && image.dirty && (event.etag === null || event.etag === image.etag)) {
      // Delivered again: its training message may have been lost with the worker that recorded it.
      await batches.reminders.load(key.projectId);
    }
  }

  async function ingest(event: ObjectEvent, { projectId, imageId }: UploadKey): Promise<void> {
    const path = join(settings.SCRATCH, `picture-${randomUUID()}`);
    const thumbnail = `${path}.webp`;
    try {
      const object = await bucket.download(event.key, path, { most: settings.IMAGE_BYTES });
      // The object is gone again: if for good, the upload lapses.
      if (!object) return;
      const limit = settings.IMAGE_BYTES;
      const result: PictureResult =
        object.bytes > limit
          ? { reason: detailOf('too-large', { limit, megabytes: limit / 1e6 }) }
          : await batches.pictures.load({ path, thumbnail });
      if ('embedding' in result) {
        await bucket.put(thumbnailKey(projectId, imageId), await readFile(thumbnail), 'image/webp');
      }
      const kept = await batches.records.load({ projectId, imageId, object, sequencer: event.sequencer, result });
      // The learner removed image or project meanwhile.
      if (!kept) await bucket.delete([event.key, thumbnailKey(projectId, imageId)]);
    } finally {
      await Promise.all([path, thumbnail].map((file) => rm(file, { force: true })));
    }
  }
}

/** What many events have in common is done once for all that come within some milliseconds. */
function createBatches(deps: IngestDeps) {
  const [backbone] = deps.settings.BACKBONES;
  return {
    pictures: batch(picturesPerRequest, 20, (files: readonly PictureFile[]) =>
      deps.pictures.embed(backbone, [...files]),
    ),
    // Many images at once are one change of their project: one revision, one training message.
    records: batch(200, 50, (ingested: readonly IngestedImage[]) => recordImages(deps, backbone, ingested)),
    // Many events that come again need one message at most.
    reminders: batch(1000, 500, async (projectIds: readonly string[]) => {
      for (const projectId of new Set(projectIds)) {
        await changeProject(deps, projectId, async ({ requestMessage }) => {
          requestMessage();
          return projectId;
        });
      }
      return projectIds;
    }),
  };
}

/**
 * Calls `work` with up to `size` items that come within `milliseconds` or while the call before is under way; it gives one
 * outcome for each, in order. One call at a time keeps batches full.
 */
function batch<Item, Outcome>(
  size: number,
  milliseconds: number,
  work: (items: readonly Item[]) => Promise<readonly Outcome[]>,
): DataLoader<Item, Outcome> {
  let busy: Promise<unknown> = Promise.resolve();
  const workInTurn = (items: readonly Item[]) => {
    const outcomes = busy.then(() => work(items));
    busy = outcomes.catch(() => {});
    return outcomes;
  };
  return new DataLoader<Item, Outcome>(workInTurn, {
    cache: false,
    maxBatchSize: size,
    batchScheduleFn: (dispatch) => setTimeout(() => busy.then(dispatch), milliseconds),
  });
}

async function findImage(db: Database, { projectId, imageId }: UploadKey) {
  const [image] = await db
    .select({
      state: images.state,
      etag: images.etag,
      sequencer: images.sequencer,
      dirty: sql<boolean>`${projects.trainDueAt} is not null`,
    })
    .from(images)
    .innerJoin(projects, and(eq(projects.id, images.projectId), isNull(projects.deletedAt)))
    .where(and(eq(images.id, imageId), eq(images.projectId, projectId)));
  return image ?? null;
}

/** An object that somebody deleted in the bucket itself takes its image along; our own deletions find no image. */
async function remove(
  deps: IngestDeps,
  event: ObjectEvent,
  { projectId, imageId }: UploadKey,
  image: FoundImage | null,
): Promise<void> {
  if (image?.state !== 'ready') return;
  const older = event.sequencer && image.sequencer && compareSequencers(event.sequencer, image.sequencer) < 0;
  if (older || (await deps.bucket.head(event.key))) return;
  await changeProject(deps, projectId, async ({ transaction, raiseRevision }) => {
    const removed = await transaction.delete(images).where(eq(images.id, imageId)).returning({ id: images.id });
    if (removed.length > 0) raiseRevision();
    return removed;
  });
  await deps.bucket.delete([thumbnailKey(projectId, imageId)]);
}
