/** How often somebody may do what costs: counted in Postgres, for a function has many instances. */
import { sql } from 'drizzle-orm';
import type { Context } from 'hono';
import { clientNetwork } from './address.ts';
import type { Code } from './codes.ts';
import type { Queries } from './database.ts';
import { Problem } from './problem.ts';
import { rateLimits } from './schema.ts';
import type { SettingsOf } from './settings.ts';

export interface Limit {
  name: string;
  most: number;
  seconds: number;
  /** The code of the refusal. */
  code?: Code;
}

/** Somebody who does something `by` times, of which there may be `most`. */
export interface Counted extends Pick<Limit, 'name' | 'most'> {
  /** An address, or an id. */
  who: string;
  by?: number;
}

export interface Limited {
  db: Queries;
  settings: SettingsOf<'TRUSTED_PROXIES' | 'WRONG_KEYS_PER_MINUTE'>;
}

/** @throws Problem 429 once too many wrong keys or links came from the request's address. */
export const countFailure = (limited: Limited, context: Context): Promise<void> =>
  countAddress(limited, context, { name: 'wrong-keys', most: limited.settings.WRONG_KEYS_PER_MINUTE, seconds: 60 });

/** @throws Problem 429 once the request's address did it too often. */
export const countAddress = (limited: Limited, context: Context, limit: Limit): Promise<void> =>
  count(limited.db, limit, { ...limit, who: addressOf(limited, context) });

/** Whom a limit of an address counts. */
export const addressOf = ({ settings }: Limited, context: Context): string =>
  clientNetwork(context, settings.TRUSTED_PROXIES);

/**
 * Counts each of `all` in the `seconds` that began with its first one.
 *
 * @throws Problem 429 once it is too often for one of them.
 */
export async function count(
  db: Queries,
  { seconds, code = 'too-many' }: Pick<Limit, 'seconds' | 'code'>,
  ...all: Counted[]
): Promise<void> {
  const over = sql`${rateLimits.startedAt} < clock_timestamp() - make_interval(secs => ${seconds})`;
  const counted = await db
    .insert(rateLimits)
    .values(all.map(({ name, who, by = 1 }) => ({ name, address: who, count: by, startedAt: sql`clock_timestamp()` })))
    .onConflictDoUpdate({
      target: [rateLimits.name, rateLimits.address],
      set: {
        // A counter that is far above its limit says no more when it goes on, and must not overflow.
        count: sql`case when ${over} then excluded.count else least(${rateLimits.count}, 1000000000) + excluded.count end`,
        startedAt: sql`case when ${over} then clock_timestamp() else ${rateLimits.startedAt} end`,
      },
    })
    .returning({
      name: rateLimits.name,
      count: rateLimits.count,
      left: sql<number>`ceil(extract(epoch from ${rateLimits.startedAt} - clock_timestamp()) + ${seconds})::int`,
    });
  const refused = counted.filter((one) => one.count > all.find(({ name }) => name === one.name)!.most);
  if (refused.length === 0) return;
  const wait = Math.max(1, ...refused.map(({ left }) => left));
  throw new Problem(code, { seconds: wait }, { headers: { 'Retry-After': String(wait) } });
}
