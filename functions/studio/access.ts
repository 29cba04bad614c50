/** Who is asking: a program with a project's key, or a browser with its session's cookie. */
import { and, eq, isNull, or, sql } from 'drizzle-orm';
import type { Context, MiddlewareHandler } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';
import { bearerKey, createKey, hashKey } from '#shared/access.ts';
import type { Database } from '#shared/database.ts';
import { Problem } from '#shared/problem.ts';
import { projects, sessions } from '#shared/schema.ts';
import { asId, type Env, notThere, type Studio } from './api.ts';
import { countFailure } from './limits.ts';

const sessionSeconds = 400 * 24 * 3600;

/** A `__Host-` cookie is bound to just this host; browsers take it over https alone. */
const cookieName = (studioUrl: string) => (studioUrl.startsWith('https:') ? '__Host-session' : 'session');

/** The id of the session whose cookie the request has, or null. */
export async function findSession({ db, settings }: Studio, context: Context): Promise<string | null> {
  const token = getCookie(context, cookieName(settings.STUDIO_URL));
  if (!token) return null;
  const [found] = await db
    .select({ id: sessions.id })
    .from(sessions)
    .where(eq(sessions.tokenHash, hashKey(token)));
  return found?.id ?? null;
}

/** The request's session, made with its cookie where there is none. */
export async function ensureSession(studio: Studio, context: Context): Promise<string> {
  const found = await findSession(studio, context);
  if (found) return found;
  const { key: token, hash: tokenHash } = createKey();
  const [made] = await studio.db.insert(sessions).values({ tokenHash }).returning({ id: sessions.id });
  const { STUDIO_URL } = studio.settings;
  setCookie(context, cookieName(STUDIO_URL), token, {
    httpOnly: true,
    secure: STUDIO_URL.startsWith('https:'),
    sameSite: 'Lax',
    path: '/',
    maxAge: sessionSeconds,
  });
  return made!.id;
}

/**
 * Lets a request through to a project that it may use, by the project's key or by its session; sets `projectId`.
 *
 * 401 without either, 404 with another project's: whether that one exists is nobody's business. Wrong keys are counted.
 */
export const requireProject =
  (studio: Studio): MiddlewareHandler<Env> =>
  async (context, next) => {
    const projectId = asId(context.req.param('projectId')!, 'project');
    const key = bearerKey(context.req.header('Authorization'));
    const session = key ? null : await findSession(studio, context);
    if (!key && !session) {
      throw new Problem(401, 'no-key', 'Send the project’s key as "Authorization: Bearer KEY", or use the page.', {
        headers: { 'WWW-Authenticate': 'Bearer' },
      });
    }
    if (!(await mayUse(studio.db, projectId, key, session))) {
      if (key) await countFailure(studio, context);
      throw notThere('project');
    }
    context.set('projectId', projectId);
    await next();
  };

/** Using a project keeps it from expiring; that is written at most once an hour. */
async function mayUse(db: Database, projectId: string, key: string | null, session: string | null): Promise<boolean> {
  const [found] = await db
    .select({ stale: sql<boolean>`${projects.usedAt} < clock_timestamp() - interval '1 hour'` })
    .from(projects)
    .where(
      and(
        eq(projects.id, projectId),
        isNull(projects.deletedAt),
        or(key ? eq(projects.keyHash, hashKey(key)) : undefined, session ? eq(projects.sessionId, session) : undefined),
      ),
    );
  if (found?.stale) {
    await db.update(projects).set({ usedAt: sql`clock_timestamp()` }).where(eq(projects.id, projectId));
  }
  return found !== undefined;
}

/** A cookie goes along with what other sites make a browser send: such a request is refused. Keys do not, and may be. */
export const refuseForeignOrigins =
  (studioUrl: string): MiddlewareHandler =>
  async (context, next) => {
    const { method } = context.req;
    const origin = context.req.header('Origin');
    const foreign = origin ? origin !== new URL(studioUrl).origin && origin !== new URL(context.req.url).origin : false;
    const crossSite = ['cross-site', 'same-site'].includes(context.req.header('Sec-Fetch-Site') ?? '');
    if (!['GET', 'HEAD'].includes(method) && !context.req.header('Authorization') && (foreign || crossSite)) {
      throw new Problem(403, 'foreign-origin', 'Another site may not do this in your name. Open the page itself.');
    }
    await next();
  };
