/** Who is asking: a program with a project's key, or a browser with its session's cookie. */
import { and, eq, isNull, sql } from 'drizzle-orm';
import type { Context, MiddlewareHandler } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { bearerKey, createKey, hashKey } from '#shared/access.ts';
import type { Database } from '#shared/database.ts';
import { countFailure } from '#shared/limits.ts';
import { Problem } from '#shared/problem.ts';
import { projects, sessions } from '#shared/schema.ts';
import { asId, type Env, notThere, type Studio } from './api.ts';

const sessionSeconds = 400 * 24 * 3600;

/** A `__Host-` cookie is bound to just this host; browsers take it over https alone. */
export const cookieName = (studioUrl: string) => (studioUrl.startsWith('https:') ? '__Host-session' : 'session');

const cookieOptions = (studioUrl: string) =>
  ({ httpOnly: true, secure: studioUrl.startsWith('https:'), sameSite: 'Lax', path: '/' }) as const;

const tokenOf = ({ settings }: Studio, context: Context) => getCookie(context, cookieName(settings.STUDIO_URL));

/** The id of the session whose cookie the request has, or null. */
export async function findSession(studio: Studio, context: Context): Promise<string | null> {
  const token = tokenOf(studio, context);
  if (!token) return null;
  const [found] = await studio.db
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
  setCookie(context, cookieName(STUDIO_URL), token, { ...cookieOptions(STUDIO_URL), maxAge: sessionSeconds });
  return made!.id;
}

/** Ends the request's session, if it has one: its token opens nothing any more, wherever it was kept. */
export async function endSession(studio: Studio, context: Context): Promise<void> {
  const token = tokenOf(studio, context);
  if (!token) return;
  await studio.db.delete(sessions).where(eq(sessions.tokenHash, hashKey(token)));
  const { STUDIO_URL } = studio.settings;
  deleteCookie(context, cookieName(STUDIO_URL), cookieOptions(STUDIO_URL));
}

/**
 * Lets a request through to a project that it may use, by the project's key or by its session; sets `projectId`.
 *
 * 401 without either, 404 with another project's: whether that one exists is nobody's business. Wrong keys are counted.
 */
export const requireProject =
  (studio: Studio): MiddlewareHandler<Env> =>
  async (context, next) => {
    const { db } = studio;
    const projectId = asId(context.req.param('projectId')!, 'project');
    const key = bearerKey(context.req.header('Authorization'));
    const token = tokenOf(studio, context);
    const access = key ? await byKey(db, projectId, key) : token ? await bySession(db, projectId, token) : 'nobody';
    if (access === 'nobody') {
      throw new Problem('no-key', {}, { headers: { 'WWW-Authenticate': 'Bearer' } });
    }
    if (access === 'another') {
      if (key) await countFailure(studio, context);
      throw notThere('project');
    }
    // Using a project keeps it from expiring; that is written at most once an hour.
    if (access.stale) {
      await db.update(projects).set({ usedAt: sql`clock_timestamp()` }).where(eq(projects.id, projectId));
    }
    context.set('projectId', projectId);
    await next();
  };

type Access = { stale: boolean } | 'another' | 'nobody';
const stale = sql<boolean | null>`${projects.usedAt} < clock_timestamp() - interval '1 hour'`;
const existing = (projectId: string) => and(eq(projects.id, projectId), isNull(projects.deletedAt));

async function byKey(db: Database, projectId: string, key: string): Promise<Access> {
  const own = and(existing(projectId), eq(projects.keyHash, hashKey(key)));
  const [found] = await db.select({ stale }).from(projects).where(own);
  return found ? { stale: found.stale === true } : 'another';
}

async function bySession(db: Database, projectId: string, token: string): Promise<Access> {
  const [found] = await db
    .select({ stale })
    .from(sessions)
    .leftJoin(projects, and(existing(projectId), eq(projects.sessionId, sessions.id)))
    .where(eq(sessions.tokenHash, hashKey(token)));
  if (!found) return 'nobody';
  return found.stale === null ? 'another' : { stale: found.stale };
}

/**
 * A cookie goes along with what other sites make a browser send: such a request is refused. A key does not, and may come from
 * anywhere. A request that says nothing of its origin is no browser's: all that take SameSite cookies say it.
 */
export const refuseForeignOrigins =
  (studioUrl: string): MiddlewareHandler =>
  async (context, next) => {
    const { method } = context.req;
    const origin = context.req.header('Origin');
    const foreign = origin ? origin !== new URL(studioUrl).origin && origin !== new URL(context.req.url).origin : false;
    const crossSite = ['cross-site', 'same-site'].includes(context.req.header('Sec-Fetch-Site') ?? '');
    const keyed = bearerKey(context.req.header('Authorization')) !== null;
    if (!['GET', 'HEAD'].includes(method) && !keyed && (foreign || crossSite)) {
      throw new Problem('foreign-origin');
    }
    await next();
  };
