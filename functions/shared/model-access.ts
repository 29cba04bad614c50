/** Who may use a model, and which models there are: the same for downloading one and for asking it. */
import { and, eq, isNotNull, isNull, sql } from 'drizzle-orm';
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
const noModel = () =>
  new Problem(404, 'no-such-model', 'There is no such model, or this key is not the one of its project.');

/**
 * The published model `modelId`, if the request may use it: with the key of its project, or by a signed link to just this path. Using a
 * model counts as using its project, which therefore does not expire.
 *
 * @throws Problem 429 once too many wrong ones came from the address; 401 without a key or a valid link, 404 for a model that is not there (any more) or is another project's.
 */
export async function openModel(access: ModelAccess, context: Context, modelId: string): Promise<AccessibleModel> {
  const { db, settings } = access;
  const { req } = context;
  // A cookie says nothing here: other hosts would get it too.
  const [expires, signature] = [req.query('expires'), req.query('signature')];
  const linked = verifyPath(settings.SIGNING_SECRET, req.path, { expires, signature });
  const key = bearerKey(req.header('Authorization'));
  if (!linked && key === null) {
    if (signature) await countFailure(access, context);
    const [code, detail] = signature
      ? ['link-expired', 'This link has expired or is not complete. Get a new one from the page of the project.']
      : ['no-key', 'Send the key of the project as "Authorization: Bearer KEY", or use a link from its page.'];
    throw new Problem(401, code!, detail!, { headers: { 'WWW-Authenticate': 'Bearer' } });
  }
  if (!uuid.test(modelId)) {
    if (!linked) await countFailure(access, context);
    throw noModel();
  }
  const [found] = await db
    .select({
      id: models.id,
      projectId: models.projectId,
      projectName: projects.name,
      classes: models.classes,
      keyHash: projects.keyHash,
      usedToday: sql<boolean>`${projects.usedAt} > clock_timestamp() - interval '1 day'`,
    })
    .from(models)
    .innerJoin(projects, and(eq(projects.id, models.projectId), isNull(projects.deletedAt)))
    .where(and(eq(models.id, modelId), isNotNull(models.publishedAt)));
  if (!found || !(linked || sameHash(hashKey(key!), found.keyHash))) {
    if (!linked) await countFailure(access, context);
    throw noModel();
  }
  const { keyHash: _, usedToday, ...model } = found;
  if (!usedToday) {
    await db.update(projects).set({ usedAt: sql`clock_timestamp()` }).where(eq(projects.id, model.projectId));
  }
  return model;
}
