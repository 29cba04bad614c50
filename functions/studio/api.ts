/** What every resource's routes are made with: dependencies, the app's type, and how answers are described. */
import { OpenAPIHono, type z } from '@hono/zod-openapi';
import type { Bucket } from '#shared/bucket.ts';
import type { Database } from '#shared/database.ts';
import type { Log } from '#shared/log.ts';
import { Problem } from '#shared/problem.ts';
import type { Queues } from '#shared/queues.ts';
import { announceRevision } from '#shared/revisions.ts';
import type { Settings } from '#shared/settings.ts';
import { problem } from './schemas.ts';

export interface Studio {
  db: Database;
  bucket: Bucket;
  queues: Queues;
  settings: Settings<'studio'>;
  log: Log;
}

/** Set by access.ts: the project that the request may use. */
export type Env = { Variables: { projectId: string } };

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** @throws Problem 404 for what is no id: there is nothing of that name. */
export function asId(value: string, what: string): string {
  if (!uuid.test(value)) throw notThere(what);
  return value.toLowerCase();
}

export const notThere = (what: string): Problem => new Problem(404, 'not-found', `There is no such ${what} here.`);

/** An app whose refusals of malformed requests name the first thing that was wrong. */
export const createRoutes = () =>
  new OpenAPIHono<Env>({
    defaultHook: (result) => {
      if (result.success) return;
      const [issue] = result.error.issues;
      const where = issue?.path.join('.') || result.target;
      const message = `Expected another ${where}: ${issue?.message ?? 'see the description'}.`;
      // Of the right form, but too long, too many or with what does not belong there.
      const outOfLimits = ['custom', 'too_big', 'too_small'].includes(issue?.code ?? '');
      throw new Problem(outOfLimits ? 422 : 400, outOfLimits ? 'out-of-limits' : 'malformed', message);
    },
  });

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  content: { 'application/json': { schema } },
  description,
});
export const body = <T extends z.ZodType>(schema: T) => ({
  body: { content: { 'application/json': { schema } }, required: true },
});
/** The refusals that a route can give. */
export const refusals = (...statuses: (400 | 401 | 404 | 409 | 413 | 422 | 429)[]) =>
  Object.fromEntries(
    [...statuses, 401].map((status) => [
      status,
      { content: { 'application/problem+json': { schema: problem } }, description: 'Refused' },
    ]),
  );

/**
 * Tells the trainer of a revision that is committed. When the queue is out of reach the change stands all the same: maintain
 * finds projects that are overdue.
 */
export async function announce({ queues, settings, log }: Studio, projectId: string): Promise<void> {
  await announceRevision(queues, projectId, settings.SETTLE_SECONDS).catch((error) =>
    log.error({ err: error, project: projectId }, 'a training message could not be sent; maintain will'),
  );
}
