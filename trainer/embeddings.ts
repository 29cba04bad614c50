/** The embeddings of a dataset from Postgres; those that are missing for a backbone are computed and kept. */
import { join } from 'node:path';
import { and, eq, inArray } from 'drizzle-orm';
import type { Bucket } from '#shared/bucket.ts';
import type { Postgres } from '#shared/database.ts';
import { uploadKey } from '#shared/keys.ts';
import { embeddings, images } from '#shared/schema.ts';
import type { Dataset } from './dataset.ts';
import type { Lease } from './lease.ts';
import { type Pictures, picturesPerRequest } from './pictures.ts';

export interface EmbeddingStore {
  postgres: Postgres;
  bucket: Bucket;
  pictures: Pictures;
}

/**
 * @param folder for the originals that have to be embedded first.
 * @returns one float32 vector for each of `images`: those of the dataset, in its order, whose original is still there; and the
 *   seconds that all of these took, whenever and wherever that was.
 */
export async function readEmbeddings(
  store: EmbeddingStore,
  { projectId, backbone }: Lease,
  dataset: Dataset,
  folder: string,
  signal: AbortSignal,
): Promise<{ images: Dataset['images']; vectors: Uint8Array[]; seconds: number }> {
  const { db } = store.postgres;
  const kept = await db
    .select({ imageId: embeddings.imageId, vector: embeddings.vector, seconds: embeddings.seconds })
    .from(embeddings)
    .innerJoin(images, eq(images.id, embeddings.imageId))
    .where(and(eq(images.projectId, projectId), eq(embeddings.backbone, backbone)));
  const known = new Map(kept.map(({ imageId, ...embedding }) => [imageId, embedding]));
  const missing = dataset.images.filter(({ id }) => !known.has(id));
  for (let at = 0; at < missing.length; at += picturesPerRequest) {
    signal.throwIfAborted();
    const some = missing.slice(at, at + picturesPerRequest);
    for (const { imageId, ...embedding } of await embed(store, projectId, backbone, some, folder, signal)) {
      known.set(imageId, embedding);
    }
  }
  const there = dataset.images.filter(({ id }) => known.has(id));
  const used = there.map(({ id }) => known.get(id)!);
  return {
    images: there,
    vectors: used.map(({ vector }) => vector),
    seconds: used.reduce((sum, { seconds }) => sum + seconds, 0),
  };
}

async function embed(
  { postgres: { db }, bucket, pictures }: EmbeddingStore,
  projectId: string,
  backbone: string,
  some: Dataset['images'],
  folder: string,
  signal: AbortSignal,
): Promise<{ imageId: string; vector: Uint8Array; seconds: number }[]> {
  const files = await Promise.all(
    some.map(async ({ id, uploadClassId, etag }) => {
      const path = join(folder, id);
      const key = uploadKey({ projectId, classId: uploadClassId, imageId: id });
      return (await bucket.download(key, path, { signal, ...(etag && { etag }) })) ? [{ id, path }] : [];
    }),
  ).then((found) => found.flat());
  const seen = await pictures.see(backbone, files);
  const embedded = files.flatMap(({ id }, index) => {
    const one = seen[index]!;
    return 'embedding' in one ? [{ imageId: id, backbone, vector: one.embedding, seconds: one.seconds }] : [];
  });
  if (embedded.length > 0) {
    // An image that its learner deleted meanwhile takes no embedding: only those still there are written.
    const ids = embedded.map(({ imageId }) => imageId);
    await db.transaction(async (transaction) => {
      const there = await transaction
        .select({ id: images.id })
        .from(images)
        .where(inArray(images.id, ids))
        .for('key share');
      const still = new Set(there.map(({ id }) => id));
      const values = embedded.filter(({ imageId }) => still.has(imageId));
      if (values.length > 0) await transaction.insert(embeddings).values(values).onConflictDoNothing();
    });
  }
  return embedded;
}
