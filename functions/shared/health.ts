import type { Context } from 'hono';
import type { Database } from './database.ts';
import { Problem } from './problem.ts';

/** Longest wait for Postgres: a probe that gets no answer in time counts as a failure anyhow. */
const patience = 2000;

/** `GET /healthz` of a program that needs Postgres to serve: 200, or 503 while it is out of reach. */
export const health = (db: Database) => async (context: Context) => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Postgres did not answer for ${patience} ms.`)), patience);
  });
  try {
    await Promise.race([db.execute('select 1'), late]);
    return context.json({ status: 'ok' });
  } catch (cause) {
    throw new Problem('no-database', {}, { cause, headers: { 'Retry-After': '5' } });
  } finally {
    clearTimeout(timer);
  }
};
