/** Objects of a run's images on the scratch disk, each in a file that is named by its image's id. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bucket } from '#shared/bucket.ts';
import { thumbnailKey } from '#shared/keys.ts';
import type { TrainingImage } from './dataset.ts';

/** How many objects are downloaded at once. */
const atOnce = 16;

/** Downloads the originals that are still those that were ingested. @returns the ids of the images that have a file now. */
export const downloadOriginals = (
  bucket: Bucket,
  images: TrainingImage[],
  folder: string,
  signal: AbortSignal,
): Promise<Set<string>> =>
  downloadAll(images, folder, signal, ({ key, etag }, path) =>
    bucket.download(key, path, { signal, ...(etag && { etag }) }),
  );

/** Downloads the thumbnails that are there. @returns the ids of the images that have a file now. */
export const downloadThumbnails = (
  bucket: Bucket,
  projectId: string,
  images: TrainingImage[],
  folder: string,
  signal: AbortSignal,
): Promise<Set<string>> =>
  downloadAll(images, folder, signal, ({ id }, path) => bucket.download(thumbnailKey(projectId, id), path, { signal }));

async function downloadAll(
  images: TrainingImage[],
  folder: string,
  signal: AbortSignal,
  download: (image: TrainingImage, path: string) => Promise<unknown>,
): Promise<Set<string>> {
  const there = new Set<string>();
  for (let start = 0; start < images.length; start += atOnce) {
    signal.throwIfAborted();
    const batch = images.slice(start, start + atOnce);
    await Promise.all(
      batch.map(async (image) => {
        const path = join(folder, image.id);
        if (await download(image, path)) there.add(image.id);
        else await rm(path, { force: true });
      }),
    );
  }
  return there;
}
