/** Prepares a picture for sending: upright, scaled down, never cropped, and without the camera's metadata. */
import type { Detail } from '#shared/words.ts';
import { imageTypeNames, imageTypes, longestSide, mostImageBytes, mostImageMegabytes } from '../facts.ts';

/** The file is no picture that can be sent; `detail` is what the studio would say of it. */
export class NotSendable extends Error {
  readonly detail: Detail;
  constructor(detail: Omit<Detail, 'message'>) {
    super(detail.code);
    this.detail = { ...detail, message: detail.code };
  }
}

const notAnImage = () => new NotSendable({ code: 'not-an-image', params: { types: imageTypeNames } });
const tooLarge = () =>
  new NotSendable({ code: 'too-large', params: { limit: mostImageBytes, megabytes: mostImageMegabytes } });

/**
 * Scales a picture down and encodes it as JPEG, with white behind transparent parts. A file of an accepted type that the
 * browser cannot decode is returned as it is: the trainer reports what is wrong with it.
 *
 * @throws NotSendable
 */
export async function prepare(file: Blob): Promise<Blob> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' });
  } catch {
    if (!imageTypes.includes(file.type)) throw notAnImage();
    if (file.size > mostImageBytes) throw tooLarge();
    return file;
  }
  try {
    const scale = Math.min(1, longestSide / Math.max(bitmap.width, bitmap.height));
    const width = Math.max(1, Math.round(bitmap.width * scale));
    const height = Math.max(1, Math.round(bitmap.height * scale));
    const { context, encode } = createCanvas(width, height);
    context.fillStyle = 'white';
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = 'high';
    context.drawImage(bitmap, 0, 0, width, height);
    return await encode();
  } finally {
    // A thousand decoded pictures would take gigabytes before the browser collects them.
    bitmap.close();
  }
}

const type = 'image/jpeg';
const quality = 0.9;

/** Creates an offscreen canvas where the browser has one, so that encoding does not block the page's thread. */
function createCanvas(width: number, height: number) {
  if (typeof OffscreenCanvas !== 'undefined') {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d');
    if (context) return { context, encode: () => canvas.convertToBlob({ type, quality }) };
  }
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const encode = () =>
    new Promise<Blob>((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(notAnImage())), type, quality),
    );
  return { context: canvas.getContext('2d')!, encode };
}
