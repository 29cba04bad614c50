import { and, eq, inArray, isNull } from 'drizzle-orm';
import type { Database } from '#shared/database.ts';
import { models, projects } from '#shared/schema.ts';
import type { Cache } from './cache.ts';

/** Drops what was made of models that are gone, or whose projects are deleted: deleting means memory too. */
export async function forgetDeleted(db: Database, cache: Pick<Cache<unknown>, 'keys' | 'drop'>): Promise<void> {
  const cached = cache.keys();
  if (cached.length === 0) return;
  const there = await db
    .select({ id: models.id })
    .from(models)
    .innerJoin(projects, and(eq(projects.id, models.projectId), isNull(projects.deletedAt)))
    .where(inArray(models.id, cached));
  const left = new Set(there.map(({ id }) => id));
  for (const id of cached) if (!left.has(id)) cache.drop(id);
}
