import { thumbnailKey, uploadKey } from '#shared/keys.ts';
import { type Studio, waitBriefly } from './api.ts';

/** Deletes the objects of images that have no row any more. */
export async function deleteObjects(
  studio: Studio,
  gone: { id: string; projectId: string; uploadClassId: string }[],
): Promise<void> {
  const keys = gone.flatMap(({ id, projectId, uploadClassId }) => [
    uploadKey({ projectId, classId: uploadClassId, imageId: id }),
    thumbnailKey(projectId, id),
  ]);
  await waitBriefly(studio, studio.bucket.delete(keys), 'objects without a row', { project: gone[0]?.projectId });
}
