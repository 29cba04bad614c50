/** What a run learns from: one list of images, each with all that is known of it, narrowed in one place. */
import { and, asc, count, eq, gte } from 'drizzle-orm';
import { embeddingSpace } from '#shared/backbones.ts';
import type { Queries } from '#shared/database.ts';
import { uploadKey } from '#shared/keys.ts';
import { classes, embeddings, images } from '#shared/schema.ts';
import { leastClasses, leastImages } from '#shared/words.ts';
import type { Lease } from './lease.ts';

export interface TrainingImage {
  id: string;
  classId: string;
  /** The key of the original, and the digest that it was ingested with. */
  key: string;
  etag: string | null;
  /** Frames of one burst have the same. */
  burst: string | null;
  /** float32, little endian; null until it is computed for the run's backbone. */
  embedding: Uint8Array | null;
  /** What it took to decode and embed the image, whenever that was. */
  seconds: number;
}

export interface Dataset {
  /** In the order of the model's probabilities. */
  classes: { id: string; name: string }[];
  images: TrainingImage[];
}

const classesWithEnough = (queries: Queries, projectId: string) =>
  queries
    .select({ id: classes.id, name: classes.name })
    .from(classes)
    .innerJoin(images, and(eq(images.classId, classes.id), eq(images.state, 'ready')))
    .where(eq(classes.projectId, projectId))
    .groupBy(classes.id)
    .having(gte(count(), leastImages))
    .orderBy(asc(classes.position), asc(classes.id));

/** Whether enough classes have enough ready images for a model. */
export const canTrain = async (queries: Queries, projectId: string): Promise<boolean> =>
  (await classesWithEnough(queries, projectId)).length >= leastClasses;

/**
 * Reads the ready images of the classes that have enough of them, with their cached embeddings. Images are in the order of
 * their upload: the same for the same revision, whichever worker asks.
 */
export async function readDataset(queries: Queries, { projectId, backbone }: Lease): Promise<Dataset> {
  const enough = await classesWithEnough(queries, projectId);
  const ready = await queries
    .select({ image: images, embedding: embeddings.vector, seconds: embeddings.seconds })
    .from(images)
    .leftJoin(embeddings, and(eq(embeddings.imageId, images.id), eq(embeddings.space, embeddingSpace(backbone))))
    .where(and(eq(images.projectId, projectId), eq(images.state, 'ready')))
    .orderBy(asc(images.createdAt), asc(images.id));
  const read = ready.map(({ image, embedding, seconds }) => ({
    id: image.id,
    classId: image.classId,
    key: uploadKey({ projectId, classId: image.uploadClassId, imageId: image.id }),
    etag: image.etag,
    burst: image.burst,
    embedding,
    seconds: seconds ?? 0,
  }));
  return narrow({ classes: enough, images: read }, () => true);
}

/** Keeps the images that `isUsable`, and the classes that still have enough of them: the only place where a dataset shrinks. */
export function narrow(dataset: Dataset, isUsable: (image: TrainingImage) => boolean): Dataset {
  const usable = Map.groupBy(dataset.images.filter(isUsable), ({ classId }) => classId);
  const kept = dataset.classes.filter(({ id }) => (usable.get(id)?.length ?? 0) >= leastImages);
  const ids = new Set(kept.map(({ id }) => id));
  return {
    classes: kept,
    images: dataset.images.filter((image) => ids.has(image.classId) && isUsable(image)),
  };
}

/** Bytes of an image's id in a record, and of a number. */
const idBytes = 36;
const numberBytes = 4;
/** The burst of an image that is in none. */
const noBurst = -1;

/**
 * The images as the Python program reads them, one fixed-size record each: the id in ASCII, the index of the class and the
 * number of the burst as int32, the embedding as float32, all little endian.
 */
export function* writeRecords(dataset: Dataset): Generator<Uint8Array> {
  const classes = new Map(dataset.classes.map(({ id }, index) => [id, index]));
  const bursts = new Map([...new Set(dataset.images.map(({ burst }) => burst))].map((burst, index) => [burst, index]));
  for (const { id, classId, burst, embedding } of dataset.images) {
    const head = Buffer.alloc(idBytes + 2 * numberBytes);
    head.write(id, 'ascii');
    head.writeInt32LE(classes.get(classId)!, idBytes);
    head.writeInt32LE(burst === null ? noBurst : bursts.get(burst)!, idBytes + numberBytes);
    yield Buffer.concat([head, embedding!]);
  }
}
