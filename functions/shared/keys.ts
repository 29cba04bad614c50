/** Object keys of the one bucket. A key says where an image was uploaded; Postgres says in which class it is now. */

const uuid = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const uploadKeyForm = new RegExp(`^uploads/(${uuid})/(${uuid})/(${uuid})$`);
const thumbnailKeyForm = new RegExp(`^thumbnails/(${uuid})/(${uuid})\\.webp$`);

/** The prefix of the bucket's notification. */
export const uploadsPrefix = 'uploads/';
export const thumbnailsPrefix = 'thumbnails/';

export interface UploadKey {
  projectId: string;
  /** The class at the time of the upload. */
  classId: string;
  imageId: string;
}

/** `uploads/{projectId}/{classId}/{imageId}`: the original, as uploaded. */
export const uploadKey = ({ projectId, classId, imageId }: UploadKey): string =>
  `${uploadsPrefix}${projectId}/${classId}/${imageId}`;

/** `thumbnails/{projectId}/{imageId}.webp`: re-encoded, without metadata. */
export const thumbnailKey = (projectId: string, imageId: string): string =>
  `${thumbnailsPrefix}${projectId}/${imageId}.webp`;

/** Every prefix under which a project keeps objects. */
export const projectPrefixes = (projectId: string): string[] => [
  `${uploadsPrefix}${projectId}/`,
  `${thumbnailsPrefix}${projectId}/`,
];

/** The parts of an upload's key, or null when somebody else wrote the object. */
export function parseUploadKey(key: string): UploadKey | null {
  const match = uploadKeyForm.exec(key);
  return match ? { projectId: match[1]!, classId: match[2]!, imageId: match[3]! } : null;
}

/** The parts of a thumbnail's key, or null for any other. */
export function parseThumbnailKey(key: string): { projectId: string; imageId: string } | null {
  const match = thumbnailKeyForm.exec(key);
  return match ? { projectId: match[1]!, imageId: match[2]! } : null;
}
