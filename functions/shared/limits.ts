/** How often somebody may do what costs: counted in Postgres, for a function has many instances. */
import { sql } from 'drizzle-orm';
import type { Context } from 'hono';
import { clientNetwork } from './address.ts';
import type { Queries } from './database.ts';
import { Problem } from './problem.ts';
import { rateLimits } from './schema.ts';
import type { SettingsOf } from './settings.ts';

export interface Limit {
  name: string;
  most: number;
  seconds: number;
  /** For programs, and the page's sentence. */
  code?: string;
}

export interface Limited {
  db: Queries;
  settings: SettingsOf<'TRUSTED_PROXIES' | 'WRONG_KEYS_PER_MINUTE'>;
}

/** @throws Problem 429 once too many wrong keys or links came from the request's address. */
export const countFailure = (limited: Limited, context: Context): Promise<void> =>
  countAddress(limited, context, { name: 'wrong-keys', most: limited.settings.WRONG_KEYS_PER_MINUTE, seconds: 60 });

/** @throws Problem 429 once the request's address did it too often. */
export const countAddress = ({ db, settings }: Limited, context: Context, limit: Limit): Promise<void> =>
  count(db, clientNetwork(context, settings.TRUSTED_PROXIES), limit);

/**
 * Counts one more for `who`: an address, or an id.
 *
 * @throws Problem 429 once it is too often.
 */
export async function count(
  db: Queries,
  who: string,
  { name, most, seconds, code = 'too-many' }: Limit,
): Promise<void> {
  const over = sql`${rateLimits.startedAt} < clock_timestamp() - make_interval(secs => ${seconds})`;
  const [counted] = await db
    .insert(rateLimits)
    .values({ name, address: who, count: 1, startedAt: sql`clock_timestamp()` })
    .onConflictDoUpdate({
      target: [rateLimits.name, rateLimits.address],
      set: {
        // A counter that is far above its limit says no more when it goes on, and must not overflow.
        count: sql`case when ${over} then 1 else least(${rateLimits.count}, 1000000000) + 1 end`,
        startedAt: sql`case when ${over} then clock_timestamp() else ${rateLimits.startedAt} end`,
      },
    })
    .returning({
      count: rateLimits.count,
      left: sql<number>`ceil(extract(epoch from ${rateLimits.startedAt} - clock_timestamp()) + ${seconds})::int`,
    });
  if (counted && counted.count > most) {
    const wait = Math.max(1, counted.left);
    const message = `Too many tries from here. Please wait ${wait} seconds.`;
    throw new Problem(429, code, message, { seconds: wait, headers: { 'Retry-After': String(wait) } });
  }
}
