import { type SQL, sql } from 'drizzle-orm';
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres, { type Sql } from 'postgres';
import * as schema from './schema.ts';
import { guardTransactions } from './transactions.ts';

export type Database = PostgresJsDatabase<typeof schema> & { $client: Sql };
/** What queries run on: the database, or a transaction of it. */
export type Queries = Pick<Database, 'select' | 'insert' | 'update' | 'delete' | 'execute'>;

export interface Postgres {
  /** For queries by drizzle. */
  db: Database;
  /** For what drizzle does not cover: COPY. */
  sql: Sql;
  close: () => Promise<void>;
}

/** Postgres's clock at the moment of asking: `now()` would stand still during a transaction. */
export const databaseTime: SQL<Date> = sql<Date>`clock_timestamp()`;
/** Postgres's clock plus so many seconds. */
export const secondsFromNow = (seconds: number): SQL<Date> =>
  sql<Date>`clock_timestamp() + make_interval(secs => ${seconds})`;

/**
 * A pool of connections to `url`, opened when first used. Notices go nowhere: they are about migrations that ran before.
 *
 * @param connections most connections at once; each instance of a function takes so many from Postgres's own limit.
 * @param pipeline most queries under way on a connection; their answers may all come at once, and lie in memory.
 */
export function connect(url: string, { connections = 4, pipeline = 100 } = {}): Postgres {
  const plain = postgres(url, {
    max: connections,
    // Not in its types (postgres.js 3.4.9), which a spread object is not held against.
    ...{ max_pipeline: pipeline },
    idle_timeout: 60,
    connect_timeout: 10,
    // The library's own pause grows to 20 s: whoever waits would wait on when Postgres has long been back.
    backoff: (tries) => Math.min(2, 0.05 * 2 ** tries),
    onnotice: () => {},
    connection: { application_name: 'ai-teacher' },
  });
  const client = guardTransactions(plain);
  return { db: drizzle(client, { schema }), sql: client, close: () => client.end({ timeout: 5 }) };
}
