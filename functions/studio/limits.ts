/** How often one address may do what costs: counted in Postgres, for a function has many instances. */
import { getConnInfo } from '@hono/node-server/conninfo';
import { sql } from 'drizzle-orm';
import type { Context } from 'hono';
import { Problem } from '#shared/problem.ts';
import { rateLimits } from '#shared/schema.ts';
import type { Studio } from './api.ts';

interface Limit {
  name: string;
  most: number;
  seconds: number;
}

/** A school of 100 learners behind one address, each starting anew some times in an hour. */
const newProjects: Limit = { name: 'new-projects', most: 1000, seconds: 3600 };
const wrongKeys: Limit = { name: 'wrong-keys', most: 20, seconds: 60 };

export const countProject = (studio: Studio, context: Context) => count(studio, context, newProjects);
/** @throws Problem 429 once too many wrong keys came from an address. */
export const countFailure = (studio: Studio, context: Context) => count(studio, context, wrongKeys);

async function count({ db, settings }: Studio, context: Context, { name, most, seconds }: Limit): Promise<void> {
  const address = clientAddress(context, settings.TRUSTED_PROXIES);
  const [counted] = await db
    .insert(rateLimits)
    .values({ name, address, count: 1, startedAt: sql`clock_timestamp()` })
    .onConflictDoUpdate({
      target: [rateLimits.name, rateLimits.address],
      set: {
        count: sql`case when ${rateLimits.startedAt} < clock_timestamp() - make_interval(secs => ${seconds})
          then 1 else ${rateLimits.count} + 1 end`,
        startedAt: sql`case when ${rateLimits.startedAt} < clock_timestamp() - make_interval(secs => ${seconds})
          then clock_timestamp() else ${rateLimits.startedAt} end`,
      },
    })
    .returning({
      count: rateLimits.count,
      left: sql<number>`ceil(extract(epoch from ${rateLimits.startedAt} - clock_timestamp()) + ${seconds})::int`,
    });
  if (counted && counted.count > most) {
    throw new Problem(429, 'too-many', `Too many tries from this network. Please wait ${counted.left} seconds.`, {
      headers: { 'Retry-After': String(Math.max(1, counted.left)) },
    });
  }
}

/** Each proxy adds whom it saw at the end of X-Forwarded-For; only what trusted ones added can be believed. */
function clientAddress(context: Context, trustedProxies: number): string {
  const forwarded = context.req.header('X-Forwarded-For')?.split(',') ?? [];
  const seen = trustedProxies > 0 ? forwarded.at(-trustedProxies)?.trim() : undefined;
  if (seen) return seen;
  // Without a socket (a request that a test makes) there is no address.
  return context.env?.incoming ? (getConnInfo(context).remote.address ?? '') : '';
}
