/** A picture made ready to leave the browser: upright, at most 1,024 pixels, never cropped, without what its camera noted. */

export const longestSide = 1024;
const mostBytes = 15_000_000;
const taken = ['image/jpeg', 'image/png', 'image/webp'];

/** The file is no picture that can be sent; `code` names the reason as a rejected image's would. */
export class NotSendable extends Error {
  readonly code: 'not-an-image' | 'too-large';
  constructor(code: 'not-an-image' | 'too-large') {
    super(code);
    this.code = code;
  }
}

/**
 * Scaled and encoded again as JPEG, with white behind what is transparent. What the browser cannot decode goes as it is when
 * it claims to be a picture: the trainer says what is wrong with it.
 *
 * @throws NotSendable
 */
export async function prepare(file: Blob): Promise<Blob> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' });
  } catch {
    if (!taken.includes(file.type)) throw new NotSendable('not-an-image');
    if (file.size > mostBytes) throw new NotSendable('too-large');
    return file;
  }
  try {
    const scale = Math.min(1, longestSide / Math.max(bitmap.width, bitmap.height));
    const width = Math.max(1, Math.round(bitmap.width * scale));
    const height = Math.max(1, Math.round(bitmap.height * scale));
    const { context, encode } = canvasOf(width, height);
    context.fillStyle = 'white';
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = 'high';
    context.drawImage(bitmap, 0, 0, width, height);
    return await encode();
  } finally {
    // A thousand decoded pictures would be gigabytes before the browser collects them by itself.
    bitmap.close();
  }
}

const type = 'image/jpeg';
const quality = 0.9;

/** A canvas off the page where the browser has one, so that encoding is not on the page's own thread. */
function canvasOf(width: number, height: number) {
  if (typeof OffscreenCanvas !== 'undefined') {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d');
    if (context) return { context, encode: () => canvas.convertToBlob({ type, quality }) };
  }
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const encode = () =>
    new Promise<Blob>((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new NotSendable('not-an-image'))), type, quality),
    );
  return { context: canvas.getContext('2d')!, encode };
}
