/** Computes the embeddings that a dataset lacks for its run's backbone, and keeps them in Postgres. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { and, inArray, ne, sql } from 'drizzle-orm';
import { embeddingSpace } from '#shared/backbones.ts';
import type { Bucket } from '#shared/bucket.ts';
import type { Database, Postgres } from '#shared/database.ts';
import { embeddings, images } from '#shared/schema.ts';
import { type Dataset, narrow, type TrainingImage } from './dataset.ts';
import type { Lease } from './lease.ts';
import { downloadOriginals } from './originals.ts';
import { type Pictures, picturesPerRequest } from './pictures.ts';

export interface EmbeddingDeps {
  postgres: Postgres;
  bucket: Bucket;
  pictures: Pictures;
}

/**
 * @param folder for the originals, which are removed as soon as they are embedded.
 * @returns the images that have an embedding: one whose original is gone or cannot be decoded is left out.
 */
export async function embedMissing(
  deps: EmbeddingDeps,
  { backbone }: Lease,
  dataset: Dataset,
  folder: string,
  signal: AbortSignal,
): Promise<Dataset> {
  const missing = dataset.images.filter(({ embedding }) => embedding === null);
  for (let start = 0; start < missing.length; start += picturesPerRequest) {
    signal.throwIfAborted();
    const batch = missing.slice(start, start + picturesPerRequest);
    await embedBatch(deps, backbone, batch, folder, signal);
  }
  return narrow(dataset, ({ embedding }) => embedding !== null);
}

async function embedBatch(
  { postgres: { db }, bucket, pictures }: EmbeddingDeps,
  backbone: string,
  batch: TrainingImage[],
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  const there = await downloadOriginals(bucket, batch, folder, signal);
  const downloaded = batch.filter(({ id }) => there.has(id));
  const paths = downloaded.map(({ id }) => join(folder, id));
  const results = await pictures.embed(
    backbone,
    paths.map((path) => ({ path })),
  );
  await Promise.all(paths.map((path) => rm(path, { force: true })));
  downloaded.forEach((image, index) => {
    const result = results[index]!;
    if ('embedding' in result) Object.assign(image, { embedding: result.embedding, seconds: result.seconds });
  });
  await storeEmbeddings(
    db,
    backbone,
    downloaded.filter(({ embedding }) => embedding !== null),
  );
}

/** An image that its learner removed meanwhile takes no embedding. */
async function storeEmbeddings(db: Database, backbone: string, embedded: TrainingImage[]): Promise<void> {
  const ids = embedded.map(({ id }) => id);
  if (ids.length === 0) return;
  await db.transaction(async (transaction) => {
    const there = await transaction
      .select({ id: images.id })
      .from(images)
      .where(inArray(images.id, ids))
      .for('key share');
    const kept = new Set(there.map(({ id }) => id));
    const space = embeddingSpace(backbone);
    const values = embedded
      .filter(({ id }) => kept.has(id))
      .map(({ id, embedding, seconds }) => ({ imageId: id, space, vector: embedding!, seconds }));
    if (values.length === 0) return;
    await transaction.insert(embeddings).values(values).onConflictDoNothing();
    // Those of an older version of the features are of no use any more.
    const sameBackbone = sql`split_part(${embeddings.space}, '@', 1) = ${backbone}`;
    const outdated = and(inArray(embeddings.imageId, ids), sameBackbone, ne(embeddings.space, space));
    await transaction.delete(embeddings).where(outdated);
  });
}
