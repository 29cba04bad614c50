import { expect, test } from 'vitest';
import { isKnown, isSame, parseRange } from '../../../functions/export/range.ts';

test.each([
  ['bytes=0-0', 10, { start: 0, end: 1 }],
  ['bytes=2-', 10, { start: 2, end: 10 }],
  ['bytes=2-99999999999999999999', 10, { start: 2, end: 10 }],
  ['bytes=-3', 10, { start: 7, end: 10 }],
  ['bytes=-30', 10, { start: 0, end: 10 }],
  ['BYTES=9-9', 10, { start: 9, end: 10 }],
  ['bytes=10-', 10, 'unsatisfiable'],
  ['bytes=-0', 10, 'unsatisfiable'],
  ['bytes=0-', 0, 'unsatisfiable'],
  ['bytes=-5', 0, 'unsatisfiable'],
  ['bytes=5-2', 10, null],
  ['bytes=-', 10, null],
  ['bytes=0-1,4-5', 10, null],
  ['lines=0-1', 10, null],
  ['bytes=a-b', 10, null],
  [undefined, 10, null],
] as const)('%s of %d bytes', (header, bytes, range) => {
  expect(parseRange(header, bytes)).toEqual(range);
});

test('If-None-Match: lists, weak tags and the star; If-Range: this very tag', () => {
  expect(isKnown('"a", W/"b"', '"b"')).toBe(true);
  expect(isKnown('*', '"b"')).toBe(true);
  expect(isKnown('"a"', '"b"')).toBe(false);
  expect(isKnown(undefined, '"b"')).toBe(false);
  expect(isSame(undefined, '"b"')).toBe(true);
  expect(isSame('"b"', '"b"')).toBe(true);
  expect(isSame('W/"b"', '"b"')).toBe(false);
  expect(isSame('Mon, 23 Nov 2026 00:00:00 GMT', '"b"')).toBe(false);
});
