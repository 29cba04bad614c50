/** How often one address may do what costs: counted in Postgres, for a function has many instances. */
import { sql } from 'drizzle-orm';
import type { Context } from 'hono';
import { Problem } from '#shared/problem.ts';
import { rateLimits } from '#shared/schema.ts';
import { clientNetwork } from './address.ts';
import type { Studio } from './api.ts';

interface Limit {
  name: string;
  most: number;
  seconds: number;
}

/** @throws Problem 429 once too many projects came from an address. */
export const countProject = (studio: Studio, context: Context) =>
  count(studio, context, { name: 'new-projects', most: studio.settings.PROJECTS_PER_HOUR, seconds: 3600 });

/** @throws Problem 429 once too many wrong keys came from an address. */
export const countFailure = (studio: Studio, context: Context) =>
  count(studio, context, { name: 'wrong-keys', most: studio.settings.WRONG_KEYS_PER_MINUTE, seconds: 60 });

async function count({ db, settings }: Studio, context: Context, { name, most, seconds }: Limit): Promise<void> {
  const address = clientNetwork(context, settings.TRUSTED_PROXIES);
  const over = sql`${rateLimits.startedAt} < clock_timestamp() - make_interval(secs => ${seconds})`;
  const [counted] = await db
    .insert(rateLimits)
    .values({ name, address, count: 1, startedAt: sql`clock_timestamp()` })
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
    const message = `Too many tries from this network. Please wait ${wait} seconds.`;
    throw new Problem(429, 'too-many', message, { seconds: wait, headers: { 'Retry-After': String(wait) } });
  }
}
