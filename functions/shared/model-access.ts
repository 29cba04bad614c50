/** Who may use a model, and which models there are: the same for downloading one and for asking it. */
import { and, eq, isNotNull, sql } from 'drizzle-orm';
import type { Context } from 'hono';
import { bearerKey, hashKey, sameHash, verifyPath } from './access.ts';
import type { Database } from './database.ts';
import { countFailure, type Limited } from './limits.ts';
import { Problem } from './problem.ts';
import { models, projects } from './schema.ts';
import type { SettingsOf } from './settings.ts';

export interface ModelAccess extends Limited {
  db: Database;
  settings: Limited['settings'] & SettingsOf<'SIGNING_SECRET'>;
}

export interface AccessibleModel {
  id: string;
  projectId: string;
  projectName: string;
  /** In the order of the probabilities. */
  classes: string[];
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const noModel = () => new Problem('no-such-model');

/**
 * The published model `modelId`, if the request may use it: with the key of its project, or by a signed link to just this path,
 * which ends with that key. Using a model counts as using its project, which therefore does not expire.
 *
 * @throws Problem 429 once too many wrong ones came from the address; 401 without a key or a valid link, 404 for a model that is not there (any more) or is another project's.
 */
export async function openModel(access: ModelAccess, context: Context, modelId: string): Promise<AccessibleModel> {
  const { db, settings } = access;
  const { req } = context;
  // A cookie says nothing here: other hosts would get it too.
  const [expires, signature] = [req.query('expires'), req.query('signature')];
  const key = bearerKey(req.header('Authorization'));
  if (key === null && !signature) throw new Problem('no-key', {}, asksForKey);
  const found = uuid.test(modelId) ? await findModel(db, modelId) : undefined;
  const opened =
    found &&
    (verifyPath({ secret: settings.SIGNING_SECRET, keyHash: found.keyHash }, req.path, { expires, signature }) ||
      (key !== null && sameHash(hashKey(key), found.keyHash)));
  if (!opened) {
    await countFailure(access, context);
    if (key !== null) throw noModel();
    throw new Problem('link-expired', {}, asksForKey);
  }
  const { keyHash: _, usedToday, deleted, ...model } = found;
  if (deleted) throw noModel();
  if (!usedToday) {
    await db.update(projects).set({ usedAt: sql`clock_timestamp()` }).where(eq(projects.id, model.projectId));
  }
  return model;
}

const asksForKey = { headers: { 'WWW-Authenticate': 'Bearer' } };

async function findModel(db: Database, modelId: string) {
  const [found] = await db
    .select({
      id: models.id,
      projectId: models.projectId,
      projectName: projects.name,
      classes: models.classes,
      keyHash: projects.keyHash,
      usedToday: sql<boolean>`${projects.usedAt} > clock_timestamp() - interval '1 day'`,
      deleted: sql<boolean>`${projects.deletedAt} is not null`,
    })
    .from(models)
    .innerJoin(projects, eq(projects.id, models.projectId))
    .where(and(eq(models.id, modelId), isNotNull(models.publishedAt)));
  return found;
}
