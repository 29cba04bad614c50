/** Which runs are fine-tuned without being asked, and what a fine-tuning needs beside embeddings. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { and, eq } from 'drizzle-orm';
import type { Bucket } from '#shared/bucket.ts';
import type { Database, Queries } from '#shared/database.ts';
import { uploadKey } from '#shared/keys.ts';
import { runs } from '#shared/schema.ts';
import type { Dataset } from './dataset.ts';
import type { Lease } from './lease.ts';

/** More are not tuned on: their originals would fill scratch and memory, and so many teach a head all it can learn. */
export const mostTunedImages = 3000;
/** Of each class, where nobody asked: with 10 the network was no better than its head on any set measured, and too few judge. */
const leastTunedImages = 25;
const atOnce = 16;

/** Whether the network itself is worth its time on a GPU. */
export function isWorthTuning({ classes, images }: Dataset): boolean {
  const counts = classes.map((_, index) => images.filter((image) => image.class === index).length);
  return images.length <= mostTunedImages && Math.min(...counts) >= leastTunedImages;
}

/** A fine-tuning of the same project and backbone, unless one waits already. @returns the run to send a message for. */
export async function queueTuning(db: Database, { projectId, revision, backbone }: Lease): Promise<string> {
  const stage = 'fine-tune' as const;
  return await db.transaction(async (transaction) => {
    const waiting = await findTuning(transaction, projectId);
    if (waiting) return waiting;
    const values = { projectId, revision, automatic: false, stage, backbone, state: 'queued' as const };
    const [made] = await transaction.insert(runs).values(values).returning({ id: runs.id });
    return made!.id;
  });
}

/** The fine-tuning of a project that waits, if one does. */
export async function findTuning(queries: Queries, projectId: string): Promise<string | undefined> {
  const same = and(eq(runs.projectId, projectId), eq(runs.stage, 'fine-tune'), eq(runs.state, 'queued'));
  const [waiting] = await queries.select({ id: runs.id }).from(runs).where(same).limit(1);
  return waiting?.id;
}

/** The originals of a dataset into `folder`. @returns the images whose original is still there, and their files. */
export async function downloadOriginals(
  bucket: Bucket,
  projectId: string,
  images: Dataset['images'],
  folder: string,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const paths = new Map<string, string>();
  for (let at = 0; at < images.length; at += atOnce) {
    signal.throwIfAborted();
    await Promise.all(
      images.slice(at, at + atOnce).map(async ({ id, uploadClassId, etag }) => {
        const path = join(folder, id);
        const key = uploadKey({ projectId, classId: uploadClassId, imageId: id });
        if (await bucket.download(key, path, { signal, ...(etag && { etag }) })) paths.set(id, path);
        else await rm(path, { force: true });
      }),
    );
  }
  return paths;
}
