import { thumbnailKey, uploadKey } from '#shared/keys.ts';
import { afterCommit, type Studio } from './api.ts';

/** Deletes what images without a row left in the bucket. */
export async function deleteObjects(
  studio: Studio,
  gone: { id: string; projectId: string; uploadClassId: string }[],
): Promise<void> {
  const keys = gone.flatMap(({ id, projectId, uploadClassId }) => [
    uploadKey({ projectId, classId: uploadClassId, imageId: id }),
    thumbnailKey(projectId, id),
  ]);
  await afterCommit(studio, studio.bucket.delete(keys), 'objects without a row', { project: gone[0]?.projectId });
}
