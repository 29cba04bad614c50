/** From an upload event to an image that is `ready` or `rejected`, recorded before the event is deleted. */
import { randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { and, eq, inArray, isNull, sql } from 'drizzle-orm';
import type { Bucket, StoredObject } from '#shared/bucket.ts';
import type { Database } from '#shared/database.ts';
import { compareSequencers, type ObjectEvent, parseObjectEvents } from '#shared/events.ts';
import { parseUploadKey, thumbnailKey, type UploadKey } from '#shared/keys.ts';
import type { Log } from '#shared/log.ts';
import type { Queues } from '#shared/queues.ts';
import { announceRevision, raiseRevision } from '#shared/revisions.ts';
import { embeddings, images, projects } from '#shared/schema.ts';
import type { SettingsOf } from '#shared/settings.ts';
import type { Detail } from '#shared/words.ts';
import { createBatcher } from './batch.ts';
import { type Pictures, picturesPerRequest, type Seen } from './pictures.ts';
import { blameRoom } from './room.ts';

interface Ingesting {
  db: Database;
  bucket: Bucket;
  queues: Queues;
  pictures: Pictures;
  settings: SettingsOf<'BACKBONES' | 'SETTLE_SECONDS' | 'IMAGE_BYTES' | 'SCRATCH'>;
  log: Log;
}

/** One image with what became of it. */
interface Outcome {
  projectId: string;
  imageId: string;
  object: StoredObject;
  sequencer: string | null;
  seen: Seen | { reason: Detail };
}

/** The handler of the `uploads` queue: a message's body in, resolved when all of its events are recorded. */
export function createIngest({
  db,
  bucket,
  queues,
  pictures,
  settings,
  log,
}: Ingesting): (body: string) => Promise<void> {
  const [backbone] = settings.BACKBONES;
  const see = createBatcher({
    size: picturesPerRequest,
    waitMilliseconds: 20,
    work: (files: { path: string; thumbnail: string }[]) => pictures.see(backbone, files),
  });
  // Many images at once are one change of their project: one revision, one training message.
  const record = createBatcher({ size: 200, waitMilliseconds: 50, work: recordAll });
  // So are many events that come again: a message for each would keep other projects' trainings waiting. Sent after the last
  // of them came, it arrives when whatever they tell of is due.
  const remind = createBatcher({
    size: 1000,
    waitMilliseconds: 500,
    work: async (projectIds: string[]) => {
      const sent = [...new Set(projectIds)].map((id) => announceRevision(queues, id, settings.SETTLE_SECONDS));
      await Promise.all(sent);
      return projectIds;
    },
  });

  return async (body) => {
    const events = parseObjectEvents(body);
    // A single bad event must not keep the others of its message from being recorded.
    const settled = await Promise.allSettled(events.map((event) => handle(event)));
    const failed = settled.find((result) => result.status === 'rejected');
    if (failed) throw await blameRoom(settings.SCRATCH, failed.reason);
  };

  async function handle(event: ObjectEvent): Promise<void> {
    const key = parseUploadKey(event.key);
    if (!key) {
      log.warn({ object: event.key }, 'an object that no upload made');
      return;
    }
    const image = await findImage(db, key);
    if (event.kind === 'removed') return await remove(event, key, image);
    if (!image) return await bucket.delete([event.key]);
    if (image.state === 'pending') return await ingest(event, key);
    if (image.state === 'ready' && (event.etag === null || event.etag === image.etag)) {
      // Delivered again: its training message may have been lost with the worker that recorded it.
      if (image.dirty) await remind(key.projectId);
    }
  }

  async function ingest(event: ObjectEvent, { projectId, imageId }: UploadKey): Promise<void> {
    const path = join(settings.SCRATCH, `picture-${randomUUID()}`);
    const thumbnail = `${path}.webp`;
    try {
      const object = await bucket.download(event.key, path, { most: settings.IMAGE_BYTES });
      // Gone again: if for good, the upload lapses.
      if (!object) return;
      const seen =
        object.bytes > settings.IMAGE_BYTES ? tooLarge(settings.IMAGE_BYTES) : await see({ path, thumbnail });
      if ('embedding' in seen) {
        await bucket.put(thumbnailKey(projectId, imageId), await readFile(thumbnail), 'image/webp');
      }
      const kept = await record({ projectId, imageId, object, sequencer: event.sequencer, seen });
      // The learner removed image or project meanwhile.
      if (!kept) await bucket.delete([event.key, thumbnailKey(projectId, imageId)]);
    } finally {
      await Promise.all([path, thumbnail].map((file) => rm(file, { force: true })));
    }
  }

  /** An object that somebody deleted in the bucket itself takes its image along; our own deletions find no image. */
  async function remove(
    event: ObjectEvent,
    { projectId, imageId }: UploadKey,
    image: FoundImage | null,
  ): Promise<void> {
    if (image?.state !== 'ready') return;
    const older = event.sequencer && image.sequencer && compareSequencers(event.sequencer, image.sequencer) < 0;
    if (older || (await bucket.head(event.key))) return;
    await db.transaction(async (transaction) => {
      if (!(await raiseRevision(transaction, projectId, settings.SETTLE_SECONDS))) return;
      await transaction.delete(images).where(eq(images.id, imageId));
    });
    await bucket.delete([thumbnailKey(projectId, imageId)]);
    await announceRevision(queues, projectId, settings.SETTLE_SECONDS);
  }

  /** @returns for each outcome whether its image is still there. */
  async function recordAll(outcomes: Outcome[]): Promise<boolean[]> {
    const kept = new Set<string>();
    for (const [projectId, own] of Map.groupBy(outcomes, (outcome) => outcome.projectId)) {
      const { recorded, there } = await recordProject(projectId, own);
      for (const imageId of there) kept.add(imageId);
      if (recorded.some(({ seen }) => 'embedding' in seen)) {
        await announceRevision(queues, projectId, settings.SETTLE_SECONDS);
      }
    }
    return outcomes.map((outcome) => kept.has(outcome.imageId));
  }

  /** @returns outcomes that their images now carry, and the images that are there: their event may have come twice, at once. */
  async function recordProject(
    projectId: string,
    outcomes: Outcome[],
  ): Promise<{ recorded: Outcome[]; there: string[] }> {
    return await db.transaction(async (transaction) => {
      const lock = transaction.select({ id: projects.id }).from(projects);
      const [project] = await lock.where(and(eq(projects.id, projectId), isNull(projects.deletedAt))).for('update');
      if (!project) return { recorded: [], there: [] };
      const recorded: Outcome[] = [];
      for (const outcome of outcomes) {
        const { imageId, object, sequencer, seen } = outcome;
        const facts = { etag: object.etag, sequencer, bytes: object.bytes };
        const state =
          'embedding' in seen
            ? { state: 'ready' as const, width: seen.width, height: seen.height, type: seen.type }
            : { state: 'rejected' as const, reason: seen.reason };
        const changed = await transaction
          .update(images)
          .set({ ...facts, ...state })
          .where(and(eq(images.id, imageId), eq(images.state, 'pending')))
          .returning({ id: images.id });
        if (changed.length > 0) {
          if ('embedding' in seen) {
            const { embedding: vector, seconds } = seen;
            const values = { imageId, backbone, vector, seconds };
            await transaction.insert(embeddings).values(values).onConflictDoNothing();
          }
          recorded.push(outcome);
        }
      }
      if (recorded.some(({ seen }) => 'embedding' in seen)) {
        await raiseRevision(transaction, projectId, settings.SETTLE_SECONDS);
      }
      const ids = outcomes.map(({ imageId }) => imageId);
      const there = await transaction.select({ id: images.id }).from(images).where(inArray(images.id, ids));
      return { recorded, there: there.map(({ id }) => id) };
    });
  }
}

type FoundImage = NonNullable<Awaited<ReturnType<typeof findImage>>>;

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

const tooLarge = (limit: number): { reason: Detail } => ({
  reason: {
    code: 'too-large',
    params: { limit },
    message: `This picture's file is too large: at most ${Math.floor(limit / 1e6)} MB, please.`,
  },
});
