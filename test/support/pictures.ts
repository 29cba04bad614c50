/** Pictures that tests draw: two kinds that a network tells apart, no two of a kind alike, all from a seed. */
import sharp from 'sharp';

export const kinds = ['stripes', 'dots'] as const;
export type Kind = (typeof kinds)[number];

/** Mulberry32: small, seeded, good enough to draw with. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A drawing of `kind`: other colours, angles, sizes and noise for each seed. */
export async function draw(
  kind: Kind,
  seed: number,
  {
    width = 320,
    height = 240,
    type = 'jpeg',
  }: { width?: number; height?: number; type?: 'jpeg' | 'png' | 'webp' } = {},
): Promise<Buffer> {
  const next = random(seed * 7919 + kinds.indexOf(kind));
  const colour = (light: number) => `hsl(${Math.floor(next() * 360)} ${40 + next() * 50}% ${light + next() * 15}%)`;
  const [back, front] = [colour(70), colour(20)];
  const marks: string[] = [];
  if (kind === 'stripes') {
    const gap = 14 + next() * 22;
    for (let x = -width; x < 2 * width; x += gap) {
      marks.push(`<rect x="${x}" y="${-height}" width="${gap * (0.3 + next() * 0.3)}" height="${3 * height}"/>`);
    }
  } else {
    for (let n = 0; n < 45; n++) {
      marks.push(`<circle cx="${next() * width}" cy="${next() * height}" r="${5 + next() * 12}"/>`);
    }
  }
  const angle = kind === 'stripes' ? next() * 180 : 0;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
    <rect width="100%" height="100%" fill="${back}"/>
    <g fill="${front}" transform="rotate(${angle} ${width / 2} ${height / 2})">${marks.join('')}</g></svg>`;
  return await sharp(Buffer.from(svg)).removeAlpha().toFormat(type, { quality: 90 }).toBuffer();
}
