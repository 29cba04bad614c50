import { eq, inArray, isNotNull, or, sql } from 'drizzle-orm';
import type { Bucket } from '#shared/bucket.ts';
import type { Database } from '#shared/database.ts';
import { parseThumbnailKey, parseUploadKey, projectPrefixes, thumbnailsPrefix, uploadsPrefix } from '#shared/keys.ts';
import { images, projects, rateLimits, sessions } from '#shared/schema.ts';
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
    .set({ deletedAt: sql`coalesce(${projects.deletedAt}, clock_timestamp())` })
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
  const failures: unknown[] = [];
  for (const { id, settled } of gone) {
    try {
      for (const prefix of projectPrefixes(id)) await bucket.erase(prefix);
      // Links that were given before the deletion may still bring objects: the row stays until those have died, and the
      // next run erases what they brought.
      if (!settled) continue;
      await db.delete(projects).where(eq(projects.id, id));
      erased++;
    } catch (error) {
      // One that cannot be erased must not keep the others' pictures.
      failures.push(error);
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} projects could not be erased.`);
  return erased;
}

/**
 * Runs `sweep` unless one was begun within the last day: listing a whole bucket is dear. One that fails is due again.
 *
 * @returns what it gave, or null when it was not its day.
 */
export async function oncePerDay<T>(db: Database, sweep: () => Promise<T>): Promise<T | null> {
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
  if (claimed.length === 0) return null;
  try {
    return await sweep();
  } catch (error) {
    await db.delete(rateLimits).where(eq(name, 'orphan-sweep'));
    throw error;
  }
}

/**
 * Deletes objects whose image is gone and whose own deletion failed, once the whole bucket was looked through.
 *
 * @param most that one sweep deletes; the rest is the next one's.
 * @returns how many.
 * @throws Error when many objects have no row, and they are most of the bucket: a database that was put in the place of the
 *   right one looks just like that, and what it would cost is every learner's pictures.
 */
export async function eraseOrphans(
  db: Database,
  bucket: Bucket,
  { most = 10_000, suspicious = 1000, ageSeconds = orphanAge } = {},
) {
  const orphans: string[] = [];
  let seen = 0;
  for (const prefix of [uploadsPrefix, thumbnailsPrefix]) {
    let page: { key: string; imageId: string }[] = [];
    const sort = async () => {
      const ids = page.map(({ imageId }) => imageId);
      const there = await db.select({ id: images.id }).from(images).where(inArray(images.id, ids));
      const known = new Set(there.map(({ id }) => id));
      seen += page.length;
      orphans.push(...page.filter(({ imageId }) => !known.has(imageId)).map(({ key }) => key));
      page = [];
    };
    for await (const { key, modified } of bucket.list(prefix)) {
      const imageId = parseUploadKey(key)?.imageId ?? parseThumbnailKey(key)?.imageId;
      if (!imageId || modified.getTime() > Date.now() - ageSeconds * 1000) continue;
      page.push({ key, imageId });
      if (page.length === 1000) await sort();
      if (orphans.length >= most) break;
    }
    if (page.length > 0) await sort();
  }
  if (orphans.length > suspicious && orphans.length > seen / 2) {
    throw new Error(
      `${orphans.length} of ${seen} objects in ${bucket.name} have no row in this database, and none was deleted: is DATABASE_URL the right one? Otherwise delete them by hand.`,
    );
  }
  await bucket.delete(orphans);
  return orphans.length;
}

/** Counters of addresses that have long been quiet: nobody's address is kept for longer than it is needed. */
export const forgetAddresses = async (db: Database): Promise<void> => {
  await db.delete(rateLimits).where(sql`${rateLimits.startedAt} < clock_timestamp() - interval '2 days'`);
};

/** Browsers without a project, a day after they came: they get a new session with their next project. */
export async function forgetSessions(db: Database): Promise<number> {
  const gone = await db
    .delete(sessions)
    .where(
      sql`${sessions.createdAt} < clock_timestamp() - interval '1 day'
        and not exists (select 1 from projects where projects.session_id = ${sessions.id})`,
    )
    .returning({ id: sessions.id });
  return gone.length;
}
