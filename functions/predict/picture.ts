/** From the bytes of a file to raw pixels, as the trainer sees them. */
import type { Sharp } from 'sharp';
import imageFacts from '#shared/images.json' with { type: 'json' };
import { Problem } from '#shared/problem.ts';

const types = Object.values(imageFacts.types);
/** As in the names of libvips's loaders, such as VipsForeignLoadJpegBuffer. */
const loaders = types.map(({ name }) => `VipsForeignLoad${name[0]}${name.slice(1).toLowerCase()}Buffer`);
/** First bytes of the types that are taken, in hexadecimal; a dot is a digit that may be any. */
const signatures = types.map(({ signature }) => new RegExp(`^${signature}`));
const longestSignature = Math.max(...types.map(({ signature }) => signature.length / 2));

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
  sharp.unblock({ operation: loaders });
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
  new Problem('not-an-image', { types: types.map(({ name }) => name) }, { cause });

/** Judges by content: the name and the type that a file claims say nothing. */
const isPicture = (file: Uint8Array): boolean => {
  const start = Buffer.from(file.buffer, file.byteOffset, Math.min(file.length, longestSignature)).toString('hex');
  return signatures.some((signature) => signature.test(start));
};

/** @throws Problem 422 for anything but a picture of an accepted type with at most `limit` pixels. */
export async function readHeader(file: Uint8Array, limit: number): Promise<Header> {
  if (!isPicture(file)) throw notAnImage();
  const { width, height } = await (await open(file, false)).metadata().catch((cause) => {
    throw notAnImage(cause);
  });
  if (width * height > limit) {
    throw new Problem('too-many-pixels', { width, height, limit, megapixels: limit / 1e6 });
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
    throw new Problem('damaged', {}, { cause });
  }
}
