/** From the bytes of a file to raw pixels, as the trainer sees them. */
import type { Sharp } from 'sharp';
import { Problem } from '#shared/problem.ts';

export interface Picture {
  width: number;
  height: number;
  /** uint8 RGB, row by row: `height * width * 3` bytes. */
  pixels: Uint8Array;
}

/** What the header of a file says, before anything is decoded. */
export interface Header {
  width: number;
  height: number;
}

async function load() {
  const { default: sharp } = await import('sharp');
  // libvips reads dozens of formats: none but ours gets as far as its decoder, whatever a file calls itself.
  sharp.block({ operation: ['VipsForeignLoad'] });
  sharp.unblock({
    operation: ['VipsForeignLoadJpegBuffer', 'VipsForeignLoadPngBuffer', 'VipsForeignLoadWebpBuffer'],
  });
  sharp.cache(false);
  // One request, one thread: several requests are what keeps several cores at work.
  sharp.concurrency(1);
  return sharp;
}
let loaded: ReturnType<typeof load> | undefined;
const open = async (file: Uint8Array, pixels: number | false): Promise<Sharp> => {
  loaded ??= load();
  return (await loaded)(file, {
    limitInputPixels: pixels,
    // A file that ends in its middle is refused, as Pillow does; mere oddities, which libjpeg warns of, are not.
    failOn: 'error',
    // The trainer leaves colour profiles alone too.
    ignoreIcc: true,
    autoOrient: true,
  });
};

const notAnImage = (cause?: unknown) =>
  new Problem(422, 'not-an-image', 'This is not a picture that can be read. JPEG, PNG and WebP can.', { cause });

/** First bytes, in latin1, of the formats that are taken; a WebP has its length between the two parts of its own. */
const signatures = [
  { at: 0, text: '\xff\xd8\xff' },
  { at: 0, text: '\x89PNG\r\n\x1a\n' },
  { at: 8, text: 'WEBP' },
];

/** By content: the name and the type that a file claims say nothing. */
const isPicture = (file: Uint8Array): boolean => {
  const start = Buffer.from(file.buffer, file.byteOffset, Math.min(file.length, 12)).toString('latin1');
  return signatures.some(({ at, text }) => start.startsWith(text, at));
};

/** @throws Problem 422 for anything but a JPEG, PNG or WebP of at most `limit` pixels. */
export async function readHeader(file: Uint8Array, limit: number): Promise<Header> {
  if (!isPicture(file)) throw notAnImage();
  const { width, height } = await (await open(file, false)).metadata().catch((cause) => {
    throw notAnImage(cause);
  });
  if (width * height > limit) {
    throw new Problem(
      422,
      'too-many-pixels',
      `This picture is too large: ${width} x ${height} pixels. Please use one of at most ${limit / 1e6} megapixels.`,
      { width, height, limit },
    );
  }
  return { width, height };
}

/**
 * All of the picture, upright; of an animation the first frame. What is transparent shows white behind it, as in the trainer.
 *
 * @throws Problem 422 for a file whose pixels cannot be decoded.
 */
export async function decode(file: Uint8Array, limit: number): Promise<Picture> {
  try {
    const { data, info } = await (await open(file, limit))
      .flatten({ background: 'white' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`Expected 3 channels, got ${info.channels}.`);
    return { width: info.width, height: info.height, pixels: data };
  } catch (cause) {
    throw new Problem(422, 'damaged', 'This picture is damaged and cannot be opened. Please use another one.', {
      cause,
    });
  }
}
