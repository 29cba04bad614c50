import { fileURLToPath } from 'node:url';
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator';
import type { Postgres } from './database.ts';

/** Beside this file, also when it is bundled. */
const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url));

/** Any number: it has to be the same for every migration of this system. */
const lock = 7_401_902_233;

/**
 * Applies the generated migrations that are missing. Two at once wait for each other.
 *
 * @param postgres with a pool of one connection: the lock belongs to the connection that migrates.
 */
export async function migrate({ db, sql }: Postgres): Promise<void> {
  await sql`select pg_advisory_lock(${lock})`;
  try {
    await applyMigrations(db, { migrationsFolder });
  } finally {
    await sql`select pg_advisory_unlock(${lock})`;
  }
}
