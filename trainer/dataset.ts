/** What a run learns from: the ready images of the classes that have enough of them. */
import { and, asc, count, eq, gte } from 'drizzle-orm';
import type { Queries } from '#shared/database.ts';
import { classes, images } from '#shared/schema.ts';
import { leastClasses, leastImages } from '#shared/words.ts';

export interface Dataset {
  classes: { id: string; name: string }[];
  images: { id: string; uploadClassId: string; etag: string | null; class: number }[];
}

const enough = (queries: Queries, projectId: string) =>
  queries
    .select({ id: classes.id, name: classes.name })
    .from(classes)
    .innerJoin(images, and(eq(images.classId, classes.id), eq(images.state, 'ready')))
    .where(eq(classes.projectId, projectId))
    .groupBy(classes.id)
    .having(gte(count(), leastImages))
    .orderBy(asc(classes.position), asc(classes.id));

/** Whether two classes have two ready images each. */
export const canTrain = async (queries: Queries, projectId: string): Promise<boolean> =>
  (await enough(queries, projectId)).length >= leastClasses;

/** Classes in their order, their images by time of upload: the same for the same revision, whichever worker asks. */
export async function readDataset(queries: Queries, projectId: string): Promise<Dataset> {
  const taken = await enough(queries, projectId);
  const index = new Map(taken.map(({ id }, position) => [id, position]));
  const ready = await queries
    .select({ id: images.id, classId: images.classId, uploadClassId: images.uploadClassId, etag: images.etag })
    .from(images)
    .where(and(eq(images.projectId, projectId), eq(images.state, 'ready')))
    .orderBy(asc(images.createdAt), asc(images.id));
  return {
    classes: taken,
    images: ready
      .filter(({ classId }) => index.has(classId))
      .map(({ classId, ...image }) => ({ ...image, class: index.get(classId)! })),
  };
}
