/** The picture of a request: its body, or the field `image` of a form. */
import { Problem } from '#shared/problem.ts';

/** What a form adds to its file: boundaries, names, a few other fields. */
const formBytes = 64 * 1024;

const tooLarge = (limit: number) => new Problem('too-large', { limit, megabytes: limit / 1e6 });

/** Bytes that `request` says it brings, or the most that will be read of it. */
export function expectedBytes(request: Request, limit: number): number {
  const said = Number(request.headers.get('Content-Length') ?? Number.NaN);
  return said >= 0 ? said : limit + formBytes;
}

/**
 * Reads no more than `limit` bytes of a picture, whatever the request claims.
 *
 * @throws Problem 413 for more, 400 for a broken form or one without `image`, 422 for nothing.
 */
export async function readPicture(request: Request, limit: number): Promise<Uint8Array> {
  const type = request.headers.get('Content-Type') ?? '';
  const form = /^multipart\/form-data\b/i.test(type);
  const most = form ? limit + formBytes : limit;
  if (expectedBytes(request, limit) > limit + formBytes) throw tooLarge(limit);
  const body = await readBody(request, most, limit);
  const picture = form ? await imageField(body, type) : body;
  if (picture.length > limit) throw tooLarge(limit);
  if (picture.length === 0) throw new Problem('empty');
  return picture;
}

async function readBody(request: Request, most: number, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of request.body ?? []) {
    bytes += part.length;
    if (bytes > most) throw tooLarge(limit);
    parts.push(part);
  }
  return Buffer.concat(parts, bytes);
}

async function imageField(body: Uint8Array<ArrayBuffer>, type: string): Promise<Uint8Array> {
  let form: FormData;
  try {
    form = await new Response(body, { headers: { 'Content-Type': type } }).formData();
  } catch (cause) {
    throw new Problem('malformed-form', {}, { cause });
  }
  const image = form.get('image');
  if (image === null || typeof image === 'string') {
    throw new Problem('no-image-field');
  }
  return new Uint8Array(await image.arrayBuffer());
}
