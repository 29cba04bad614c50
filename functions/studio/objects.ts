import { thumbnailKey, uploadKey } from '#shared/keys.ts';
import type { Studio } from './api.ts';

/** Deletes what images without a row left in the bucket; what cannot be deleted now is found by maintain. */
export async function deleteObjects(
  { bucket, log }: Studio,
  gone: { id: string; projectId: string; uploadClassId: string }[],
): Promise<void> {
  const keys = gone.flatMap(({ id, projectId, uploadClassId }) => [
    uploadKey({ projectId, classId: uploadClassId, imageId: id }),
    thumbnailKey(projectId, id),
  ]);
  await bucket.delete(keys).catch((error) => log.warn({ err: error }, 'objects are left for maintain to delete'));
}
