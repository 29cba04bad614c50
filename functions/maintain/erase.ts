import { eq, inArray, isNotNull, or, sql } from 'drizzle-orm';
import type { Bucket } from '#shared/bucket.ts';
import type { Database } from '#shared/database.ts';
import { parseUploadKey, projectPrefixes, thumbnailsPrefix, uploadsPrefix } from '#shared/keys.ts';
import { images, projects, rateLimits } from '#shared/schema.ts';
import type { SettingsOf } from '#shared/settings.ts';

const mostProjects = 200;
/** A link lives five minutes at most: what is older than this and has no row never gets one. */
const orphanAge = 3600;

/**
 * Erases projects that their learner deleted, and those that nobody used for long, to the last version of their last object.
 * The row goes last, so that an erasure which is interrupted is taken up by the next run.
 *
 * @returns how many.
 */
export async function eraseProjects(
  db: Database,
  bucket: Bucket,
  settings: SettingsOf<'PROJECT_DAYS'>,
): Promise<number> {
  const unused = sql`${projects.usedAt} < clock_timestamp() - make_interval(days => ${settings.PROJECT_DAYS})`;
  const gone = await db
    .update(projects)
    .set({ deletedAt: sql`coalesce(${projects.deletedAt}, clock_timestamp())`, trainDueAt: null })
    .where(
      inArray(
        projects.id,
        db
          .select({ id: projects.id })
          .from(projects)
          .where(or(isNotNull(projects.deletedAt), unused))
          .limit(mostProjects),
      ),
    )
    .returning({
      id: projects.id,
      settled: sql<boolean>`${projects.deletedAt} < clock_timestamp() - interval '10 minutes'`,
    });
  let erased = 0;
  for (const { id, settled } of gone) {
    for (const prefix of projectPrefixes(id)) await bucket.erase(prefix);
    // Links that were given before the deletion may still bring objects: the row stays until those have died, and the next
    // run erases what they brought.
    if (settled) await db.delete(projects).where(eq(projects.id, id));
    if (settled) erased++;
  }
  return erased;
}

/** Whether the daily sweep for orphans is due, and this run the one that does it: listing a whole bucket is dear. */
export async function isDue(db: Database): Promise<boolean> {
  const { name, address, startedAt } = rateLimits;
  const claimed = await db
    .insert(rateLimits)
    .values({ name: 'orphan-sweep', address: '', count: 1, startedAt: sql`clock_timestamp()` })
    .onConflictDoUpdate({
      target: [name, address],
      set: { startedAt: sql`clock_timestamp()` },
      setWhere: sql`${startedAt} < clock_timestamp() - interval '1 day'`,
    })
    .returning({ name });
  return claimed.length > 0;
}

/**
 * Deletes objects whose image is gone and whose own deletion failed.
 *
 * @returns how many.
 */
export async function eraseOrphans(db: Database, bucket: Bucket): Promise<number> {
  let erased = 0;
  for (const prefix of [uploadsPrefix, thumbnailsPrefix]) {
    let page: { key: string; imageId: string }[] = [];
    const sweep = async () => {
      if (page.length === 0) return;
      const ids = page.map(({ imageId }) => imageId);
      const there = await db.select({ id: images.id }).from(images).where(inArray(images.id, ids));
      const known = new Set(there.map(({ id }) => id));
      const orphans = page.filter(({ imageId }) => !known.has(imageId)).map(({ key }) => key);
      if (orphans.length > 0) await bucket.delete(orphans);
      erased += orphans.length;
      page = [];
    };
    for await (const { key, modified } of bucket.list(prefix)) {
      const imageId = parseUploadKey(key)?.imageId ?? /([0-9a-f-]{36})\.webp$/.exec(key)?.[1];
      if (!imageId || modified.getTime() > Date.now() - orphanAge * 1000) continue;
      page.push({ key, imageId });
      if (page.length === 1000) await sweep();
    }
    await sweep();
  }
  return erased;
}

/** Counters of addresses that have long been quiet: nobody's address is kept for longer than it is needed. */
export const forgetAddresses = async (db: Database): Promise<void> => {
  await db.delete(rateLimits).where(sql`${rateLimits.startedAt} < clock_timestamp() - interval '2 days'`);
};
