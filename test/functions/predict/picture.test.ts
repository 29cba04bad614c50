import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decode, readHeader } from '../../../functions/predict/picture.ts';
import { gif, hugePng, svg } from '../../support/files.ts';
import { draw } from '../../support/pictures.ts';
import { runPython } from '../../support/python.ts';

const limit = 1_000_000;
const types = ['jpeg', 'png', 'webp'] as const;
let folder: string;
let whole: Buffer[];
beforeAll(async () => {
  // Drawn from SVG, which nothing reads any more once the function has opened its first picture.
  whole = await Promise.all(types.map((type) => draw('dots', 3, { type })));
  folder = await mkdtemp(join(tmpdir(), 'ai-teacher-pictures-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** What the trainer's own decoder says of the same files. */
async function trainer(files: Record<string, Buffer>) {
  const paths: string[] = [];
  for (const [name, data] of Object.entries(files)) {
    paths.push(join(folder, name));
    await writeFile(paths.at(-1)!, data);
  }
  const lines = (await runPython('trainer_pixels.py', [String(limit), ...paths])).trim().split('\n');
  return lines.map(
    (line) =>
      JSON.parse(line) as { width: number; height: number; pixels: string; code?: undefined } | { code: string },
  );
}

test('every kind of picture: upright, in the sizes and colours that the trainer sees', async () => {
  const picture = await draw('dots', 1, { width: 75, height: 50, type: 'png' });
  const see = () => sharp(picture);
  const noise = Buffer.from(Array.from({ length: 60 * 40 * 4 }, (_, at) => (at * 7919 + (at >> 5) * 31) % 256));
  const seeThrough = () => sharp(noise, { raw: { width: 60, height: 40, channels: 4 } });
  const files: Record<string, Buffer> = {
    jpeg: await draw('stripes', 2, { width: 333, height: 251 }),
    progressive: await see().jpeg({ progressive: true, quality: 60 }).toBuffer(),
    png: picture,
    webp: await see().webp({ quality: 80 }).toBuffer(),
    lossless: await see().webp({ lossless: true }).toBuffer(),
    ...Object.fromEntries(
      await Promise.all(
        [2, 3, 4, 5, 6, 7, 8].map(async (orientation) => [
          `turned${orientation}`,
          await see().withMetadata({ orientation }).jpeg({ quality: 95 }).toBuffer(),
        ]),
      ),
    ),
    grey: await see().greyscale().png().toBuffer(),
    greyJpeg: await see().greyscale().jpeg().toBuffer(),
    deepGrey: await see().greyscale().toColourspace('grey16').png().toBuffer(),
    deep: await see().toColourspace('rgb16').png().toBuffer(),
    palette: await see().png({ palette: true, colours: 16 }).toBuffer(),
    alpha: await seeThrough().png().toBuffer(),
    alphaPalette: await seeThrough().png({ palette: true, colours: 32 }).toBuffer(),
    alphaWebp: await seeThrough().webp({ lossless: true, exact: true }).toBuffer(),
    greyAlpha: await seeThrough().greyscale().png().toBuffer(),
    profile: await see().withIccProfile('p3').jpeg().toBuffer(),
    tiny: await sharp({ create: { width: 1, height: 1, channels: 3, background: 'teal' } })
      .png()
      .toBuffer(),
  };
  const theirs = await trainer(files);
  for (const [index, [name, file]] of Object.entries(files).entries()) {
    const seen = theirs[index]!;
    if (seen.code !== undefined) throw new Error(`The trainer refuses ${name}: ${seen.code}`);
    await readHeader(file, limit);
    const ours = await decode(file, limit);
    expect([ours.width, ours.height], name).toEqual([seen.width, seen.height]);
    const pixels = Buffer.from(seen.pixels, 'base64');
    expect(ours.pixels.length, name).toBe(pixels.length);
    // Both round what shows through an alpha channel in their own way; two JPEG decoders may do so anywhere.
    const most = pixels.reduce((largest, value, at) => Math.max(largest, Math.abs(value - ours.pixels[at]!)), 0);
    expect(most, name).toBeLessThanOrEqual(2);
  }
});

test.each([
  ['a text file', Buffer.from('cats are nice'), 'not-an-image'],
  ['an SVG', svg, 'not-an-image'],
  ['a GIF', gif, 'not-an-image'],
  ['the start of a JPEG', Buffer.from([0xff, 0xd8, 0xff]), 'not-an-image'],
  [
    'an SVG behind the first bytes of a PNG',
    Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), svg]),
    'not-an-image',
  ],
  ['64,250 x 64,250 pixels', hugePng(64_250, 64_250), 'too-many-pixels'],
  ['20,000 x 20,000 pixels', hugePng(20_000, 20_000), 'too-many-pixels'],
])('%s is refused with 422', async (_, file, code) => {
  const refused = readHeader(file, limit);
  await expect(refused).rejects.toMatchObject({ status: 422, code });
});

test('a file cut short is refused, here and in the trainer', async () => {
  for (const [index, type] of types.entries()) {
    const file = whole[index]!;
    const cut = file.subarray(0, file.length / 2);
    const ours = readHeader(cut, limit).then(() => decode(cut, limit));
    await expect(ours, type).rejects.toMatchObject({ status: 422, code: /damaged|not-an-image/ });
    expect((await trainer({ cut }))[0]!.code, type).toMatch(/damaged|not-an-image/);
  }
});

test('a header that claims too much costs neither time nor memory', async () => {
  const file = hugePng(64_250, 64_250);
  await readHeader(file, limit).catch(() => {});
  const before = process.memoryUsage().rss;
  const started = performance.now();
  await expect(readHeader(file, limit)).rejects.toMatchObject({
    params: { width: 64_250, height: 64_250, limit },
  });
  expect(performance.now() - started).toBeLessThan(50);
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20);
});
