/**
 * Who may do what: random keys whose hashes alone are kept, and links that are signed and expire. Hashing without salt or
 * stretching is enough because every key has 256 random bits.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

export interface Key {
  /** Shown once, to its owner. */
  key: string;
  hash: Uint8Array;
}

export const hashKey = (key: string): Uint8Array => createHash('sha256').update(key).digest();

/** A new key of 256 random bits, as 43 characters of base64url. */
export function createKey(): Key {
  const key = randomBytes(32).toString('base64url');
  return { key, hash: hashKey(key) };
}

/** In constant time for hashes of one length. */
export const sameHash = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);

/** The key of an `Authorization: Bearer KEY` header, or null. */
export const bearerKey = (header: string | undefined): string | null =>
  /^Bearer +(\S+)$/i.exec(header ?? '')?.[1] ?? null;

/** What signs links: a secret of the programs, and the hash of the project's key, with which its links end too. */
export interface Signer {
  secret: string;
  keyHash: Uint8Array;
}

const sign = ({ secret, keyHash }: Signer, path: string, expires: string): Buffer =>
  createHmac('sha256', secret).update(`${path}\n${expires}\n`).update(keyHash).digest();

/**
 * `path` with a query that lets whoever has it use just this path until it expires. Times are rounded up to a tenth of the
 * validity, so that a page that asks again gets the same link and its caches hold.
 *
 * @param seconds validity, at least.
 */
export function signPath(signer: Signer, path: string, seconds: number, now = Date.now()): string {
  const step = Math.max(1, Math.round(seconds / 10));
  const expires = String((Math.ceil(now / 1000 / step) + 10) * step);
  return `${path}?expires=${expires}&signature=${sign(signer, path, expires).toString('base64url')}`;
}

/** Whether `expires` and `signature` of a query were made by {@link signPath} for this path and still hold. */
export function verifyPath(
  signer: Signer,
  path: string,
  { expires, signature }: { expires?: string | undefined; signature?: string | undefined },
  now = Date.now(),
): boolean {
  if (!expires || !signature || !/^\d{1,12}$/.test(expires)) return false;
  return sameHash(sign(signer, path, expires), Buffer.from(signature, 'base64url')) && Number(expires) * 1000 > now;
}
