import { expect, test } from 'vitest';
import { bearerKey, createKey, hashKey, sameHash, signPath, verifyPath } from '#shared/access.ts';

const signer = { secret: 's'.repeat(32), keyHash: hashKey('a key') };
const now = Date.UTC(2026, 0, 1);
const query = (signed: string) => Object.fromEntries(new URL(signed, 'http://x').searchParams);

test('keys: 256 bits each, no two alike, known by their hash', () => {
  const keys = Array.from({ length: 1000 }, createKey);
  expect(new Set(keys.map(({ key }) => key)).size).toBe(1000);
  for (const { key, hash } of keys) {
    expect(key).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(sameHash(hashKey(key), hash)).toBe(true);
  }
  expect(sameHash(keys[0]!.hash, keys[1]!.hash)).toBe(false);
  expect(sameHash(keys[0]!.hash, new Uint8Array(3))).toBe(false);
});

test.each([
  ['Bearer abc', 'abc'],
  ['bearer  abc', 'abc'],
  ['Bearer a b', null],
  ['Basic abc', null],
  ['Bearer ', null],
  [undefined, null],
])('%j carries the key %j', (header, key) => {
  expect(bearerKey(header)).toBe(key);
});

test('a link holds for its path and its time, and at most a fifth longer', () => {
  const signed = signPath(signer, '/models/m/model.pt', 100, now);
  const given = query(signed);
  expect(signed.startsWith('/models/m/model.pt?')).toBe(true);
  expect(verifyPath(signer, '/models/m/model.pt', given, now + 99_999)).toBe(true);
  expect(verifyPath(signer, '/models/m/model.pt', given, now + 120_000)).toBe(false);
  expect(verifyPath(signer, '/models/m/model.onnx', given, now)).toBe(false);
  for (const other of [{ secret: 't'.repeat(32) }, { keyHash: hashKey('the next key') }]) {
    expect(verifyPath({ ...signer, ...other }, '/models/m/model.pt', given, now)).toBe(false);
  }
});

test('asked again within a tenth of its time it is the same link, so that caches hold', () => {
  const links = [0, 3000, 9999].map((later) => signPath(signer, '/a', 100, now + later));
  expect(new Set(links.slice(1)).size).toBe(1);
});

test.each([
  {},
  { expires: '99999999999' },
  { signature: 'x' },
  { expires: '1e99', signature: 'x' },
  { expires: '-1', signature: '' },
  { expires: '99999999999', signature: '%%%' },
])('%j opens nothing', (given) => {
  expect(verifyPath(signer, '/a', given, now)).toBe(false);
});

test('no other expiry goes with a signature', () => {
  const given = query(signPath(signer, '/a', 100, now));
  for (const expires of [`${Number(given.expires) + 1}`, `0${given.expires}`, '999999999999']) {
    expect(verifyPath(signer, '/a', { ...given, expires }, now)).toBe(false);
  }
});
