/** Whom a limit counts. */
import { isIP, isIPv6 } from 'node:net';
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context } from 'hono';

/** Each proxy adds whom it saw at the end of X-Forwarded-For; only what trusted ones added can be believed. */
export function clientNetwork(context: Context, trustedProxies: number): string {
  const forwarded = context.req.header('X-Forwarded-For')?.split(',') ?? [];
  const seen = trustedProxies > 0 ? (forwarded.at(-trustedProxies)?.trim() ?? '') : '';
  if (isIP(seen)) return networkOf(seen);
  // A request without a socket, which a test makes, comes from nowhere.
  return context.env?.incoming ? networkOf(getConnInfo(context).remote.address ?? '') : '';
}

/** An IPv4 address as it is; of an IPv6 address its /64, for all of that is one household's or one school's. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped) return mapped[1]!;
  if (!isIPv6(address)) return address;
  const [head, tail] = address
    .replace(/%.*$/, '')
    .split('::')
    .map((part) => (part === '' ? [] : part.split(':')));
  const zeros = tail ? Array(8 - head!.length - tail.length).fill('0') : [];
  const groups = [...head!, ...zeros, ...(tail ?? [])].slice(0, 4);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}
