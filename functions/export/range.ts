/** What part of a file a request wants (RFC 9110, sections 13 and 14). */

export interface ByteRange {
  start: number;
  /** Not part of it. */
  end: number;
}

/**
 * The one range that a `Range` header asks for of `bytes` bytes: null when there is none, or none that has to be heeded (another
 * unit, malformed, several at once: all of it is the answer then), `unsatisfiable` when it lies beyond the end.
 */
export function parseRange(header: string | undefined, bytes: number): ByteRange | 'unsatisfiable' | null {
  const match = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return null;
  const [first, last] = [match[1], match[2]];
  if (first === '') {
    const length = Math.min(Number(last), bytes);
    return length === 0 ? 'unsatisfiable' : { start: bytes - length, end: bytes };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return null;
  if (start >= bytes) return 'unsatisfiable';
  return { start, end: last === '' ? bytes : Math.min(Number(last) + 1, bytes) };
}

/** Whether `If-None-Match` names `etag`: the client has it already. Compared weakly, as RFC 9110 13.1.2 says. */
export function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  const tags = ifNoneMatch?.split(',').map((tag) => tag.trim().replace(/^W\//, '')) ?? [];
  return tags.includes('*') || tags.includes(etag);
}

/** Whether a range may be given: `If-Range` is absent or names just this file. Compared strongly; dates are never given out. */
export const isSame = (ifRange: string | undefined, etag: string): boolean =>
  ifRange === undefined || ifRange.trim() === etag;
