import { and, asc, eq, isNull, sql } from 'drizzle-orm';
import type { Bucket } from '#shared/bucket.ts';
import { detailOf } from '#shared/codes.ts';
import type { Database } from '#shared/database.ts';
import { uploadKey } from '#shared/keys.ts';
import type { Queues } from '#shared/queues.ts';
import { images, projects } from '#shared/schema.ts';
import type { SettingsOf } from '#shared/settings.ts';

interface Maintaining {
  db: Database;
  bucket: Bucket;
  queues: Queues;
  settings: SettingsOf<'MISSED_EVENT_SECONDS' | 'UPLOAD_LAPSE_SECONDS'>;
}

const linkedBefore = (seconds: number) =>
  sql<boolean>`${images.linkedAt} < clock_timestamp() - make_interval(secs => ${seconds})`;

/** Images looked for in one run, and at once: ten thousand missed events are found within some runs of a minute each. */
const mostImages = 5000;
const atOnce = 16;

/**
 * Looks in the bucket for images that are pending for long. What is there gets its event again, as S3 would have sent it, and
 * goes the way of every other; what is not there, long after its last link, will not come any more and is rejected.
 *
 * @returns how many of each.
 */
export async function findMissedEvents({
  db,
  bucket,
  queues,
  settings,
}: Maintaining): Promise<{ found: number; lapsed: number }> {
  const waiting = await db
    .select({
      id: images.id,
      projectId: images.projectId,
      uploadClassId: images.uploadClassId,
      overdue: linkedBefore(settings.UPLOAD_LAPSE_SECONDS),
    })
    .from(images)
    .innerJoin(projects, and(eq(projects.id, images.projectId), isNull(projects.deletedAt)))
    .where(
      and(
        eq(images.state, 'pending'),
        // Whatever the two are set to: one that lapsed is looked for too.
        linkedBefore(Math.min(settings.MISSED_EVENT_SECONDS, settings.UPLOAD_LAPSE_SECONDS)),
      ),
    )
    .orderBy(asc(images.linkedAt))
    .limit(mostImages);
  let [found, lapsed] = [0, 0];
  const look = async () => {
    for (let image = waiting.shift(); image; image = waiting.shift()) {
      const { id, projectId, uploadClassId, overdue } = image;
      const key = uploadKey({ projectId, classId: uploadClassId, imageId: id });
      const object = await bucket.head(key);
      if (object) {
        await queues.sendUpload({ bucket: bucket.name, key, etag: object.etag, bytes: object.bytes });
        // Looked for again after the same time: while no trainer takes them the queue must not fill with repetitions.
        await db
          .update(images)
          .set({ linkedAt: sql`clock_timestamp()` })
          .where(and(eq(images.id, id), eq(images.state, 'pending')));
        found++;
      } else if (overdue) {
        // A slow network may have asked for another link meanwhile.
        const rejected = await db
          .update(images)
          .set({ state: 'rejected', reason: detailOf('never-arrived') })
          .where(and(eq(images.id, id), eq(images.state, 'pending'), linkedBefore(settings.UPLOAD_LAPSE_SECONDS)))
          .returning({ id: images.id });
        lapsed += rejected.length;
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, look));
  return { found, lapsed };
}
