import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { parseThumbnailKey, parseUploadKey, projectPrefixes, thumbnailKey, uploadKey } from '#shared/keys.ts';

const ids = { projectId: randomUUID(), classId: randomUUID(), imageId: randomUUID() };

test('keys are as the contract says, below their project’s prefixes, and read back', () => {
  const [upload, thumbnail] = [uploadKey(ids), thumbnailKey(ids.projectId, ids.imageId)];
  expect(upload).toBe(`uploads/${ids.projectId}/${ids.classId}/${ids.imageId}`);
  expect(thumbnail).toBe(`thumbnails/${ids.projectId}/${ids.imageId}.webp`);
  expect(
    projectPrefixes(ids.projectId).map((prefix) => [upload, thumbnail].some((key) => key.startsWith(prefix))),
  ).toEqual([true, true]);
  expect(parseUploadKey(upload)).toEqual(ids);
  expect(parseThumbnailKey(thumbnail)).toEqual({ projectId: ids.projectId, imageId: ids.imageId });
});

test.each([
  'uploads/고양이 사진+1.jpg',
  `uploads/${ids.projectId}/${ids.classId}/${ids.imageId}/more`,
  `uploads/${ids.projectId}/${ids.classId}/${ids.imageId}\n`,
  `uploads/../${ids.classId}/${ids.imageId}`,
  `x/uploads/${ids.projectId}/${ids.classId}/${ids.imageId}`,
  `uploads/${ids.projectId.toUpperCase()}A/${ids.classId}/${ids.imageId}`,
  '',
])('%j is no key of ours', (key) => {
  expect(parseUploadKey(key)).toBeNull();
  expect(parseThumbnailKey(key)).toBeNull();
});
