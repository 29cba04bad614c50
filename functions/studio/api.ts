/** What every resource's routes are made with: dependencies, the app's type, and how answers are described. */
import { OpenAPIHono, type z } from '@hono/zod-openapi';
import type { Bucket } from '#shared/bucket.ts';
import { changeProject, type ProjectChange } from '#shared/change-project.ts';
import type { Database } from '#shared/database.ts';
import type { Log } from '#shared/log.ts';
import { Problem, titles } from '#shared/problem.ts';
import type { Queues } from '#shared/queues.ts';
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

/** Milliseconds that a learner waits for what follows a commit. */
const patience = 3000;

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** @throws Problem 404 for what is no id: there is nothing of that name. */
export function asId(value: string, what: string): string {
  if (!uuid.test(value)) throw notThere(what);
  return value.toLowerCase();
}

export const notThere = (what: string): Problem => new Problem('not-found', { what });

/** An app whose refusals of malformed requests name the first thing that was wrong. */
export const createRoutes = () =>
  new OpenAPIHono<Env>({
    defaultHook: (result) => {
      if (result.success) return;
      const [issue] = result.error.issues;
      const where = issue?.path.join('.') || result.target;
      // These have the right form but are too long, too many, or contain what does not belong there.
      const outOfLimits = ['custom', 'too_big', 'too_small'].includes(issue?.code ?? '');
      const problem = issue?.message ?? 'see the description';
      throw new Problem(outOfLimits ? 'out-of-limits' : 'malformed', { where, problem });
    },
  });

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  content: { 'application/json': { schema } },
  description,
});
export const body = <T extends z.ZodType>(schema: T) => ({
  body: { content: { 'application/json': { schema } }, required: true },
});
/** What a call to a project can be refused for, whatever it is; and one that changes something. */
export const reading = [401, 404, 429] as const;
export const changing = [...reading, 403, 413] as const;

/** The refusals that a route can give, for the description. */
export const refusals = (...statuses: (400 | 401 | 403 | 404 | 409 | 413 | 422 | 429)[]) =>
  Object.fromEntries(
    statuses.map((status) => [
      status,
      { content: { 'application/problem+json': { schema: problem } }, description: titles[status] },
    ]),
  );

/**
 * Waits some seconds for work that follows a commit. When it fails or takes longer the change stands all the same: only work
 * that maintain does later may be given here.
 *
 * @param left names that work in the log.
 */
export async function waitBriefly({ log }: Studio, work: Promise<unknown>, left: string, about: object): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => {
      log.warn({ ...about, left }, 'slow after a commit');
      resolve(undefined);
    }, patience);
  });
  const done = work.catch((error) => log.error({ err: error, ...about, left }, 'failed after a commit'));
  await Promise.race([done, late]);
  clearTimeout(timer);
}

/**
 * Changes the project of a request (change-project.ts). A message that cannot be sent now is left to maintain.
 *
 * @throws Problem 404 when the project was deleted meanwhile.
 */
export async function changeOwnProject<T extends NonNullable<unknown>>(
  studio: Studio,
  projectId: string,
  work: (change: ProjectChange) => Promise<T>,
  afterCommit?: (result: T) => Promise<unknown>,
): Promise<T> {
  const sendTraining: Queues['sendTraining'] = (message, delaySeconds) => {
    const sent = studio.queues.sendTraining(message, delaySeconds);
    return waitBriefly(studio, sent, 'a training message to send', { project: projectId });
  };
  const { db, settings } = studio;
  const result = await changeProject({ db, queues: { sendTraining }, settings }, projectId, work, afterCommit);
  if (result === null) throw notThere('project');
  return result;
}
