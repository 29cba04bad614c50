import { createRoute, z } from '@hono/zod-openapi';
import { and, desc, eq, sql } from 'drizzle-orm';
import { chosenBackbone } from '#shared/chosen-backbone.ts';
import type { Queries } from '#shared/database.ts';
import { Problem } from '#shared/problem.ts';
import { projects, runs } from '#shared/schema.ts';
import { type Stage, stages } from '#shared/words.ts';
import {
  afterCommit,
  asId,
  body,
  changing,
  createRoutes,
  json,
  notThere,
  reading,
  refusals,
  type Studio,
} from './api.ts';
import { countTraining } from './limits.ts';
import { viewRun } from './project-view.ts';
import { newRun, projectParams, run, runParams } from './schemas.ts';

export function runRoutes(studio: Studio) {
  const { db, queues } = studio;
  const backbones = studio.settings.BACKBONES;
  return createRoutes()
    .openapi(
      createRoute({
        method: 'post',
        path: '/api/projects/{projectId}/runs',
        summary: 'Train now, the newest revision',
        request: { params: projectParams, body: { ...body(newRun).body, required: false } },
        responses: { 202: json(run, 'Queued'), ...refusals(...changing, 400, 422) },
      }),
      async (context) => {
        const { projectId } = context.var;
        const asked = context.req.valid('json');
        const stage = oneOf<Stage>('stage', stages, asked.stage ?? 'head');
        const backbone = asked.backbone === undefined ? undefined : oneOf('backbone', backbones, asked.backbone);
        await countTraining(studio, context, projectId);
        const queued = await db.transaction((transaction) => queueRun(transaction, projectId, stage, backbone));
        const message = queues.sendTraining({ projectId, runId: queued.id });
        await afterCommit(studio, message, 'a queued run’s message to send', { run: queued.id });
        return context.json(viewRun(queued), 202);
      },
    )
    .openapi(
      createRoute({
        method: 'get',
        path: '/api/projects/{projectId}/runs',
        summary: 'Runs, newest first',
        request: { params: projectParams },
        responses: { 200: json(z.object({ runs: z.array(run) }), 'At most 100'), ...refusals(...reading) },
      }),
      async (context) => {
        const { projectId } = context.var;
        const own = eq(runs.projectId, projectId);
        const found = await db.select().from(runs).where(own).orderBy(desc(runs.createdAt)).limit(100);
        return context.json({ runs: found.map(viewRun) }, 200);
      },
    )
    .openapi(
      createRoute({
        method: 'get',
        path: '/api/projects/{projectId}/runs/{runId}',
        summary: 'One run',
        request: { params: runParams },
        responses: { 200: json(run, 'The run'), ...refusals(...reading) },
      }),
      async (context) =>
        context.json(viewRun(await find(context.var.projectId, context.req.valid('param').runId)), 200),
    )
    .openapi(
      createRoute({
        method: 'delete',
        path: '/api/projects/{projectId}/runs/{runId}',
        summary: 'Cancel a run that is queued or running; one that ended stays as it is',
        request: { params: runParams },
        responses: { 200: json(run, 'The run'), ...refusals(...changing) },
      }),
      async (context) => {
        const { id } = await find(context.var.projectId, context.req.valid('param').runId);
        await db
          .update(runs)
          .set({ state: 'cancelled', finishedAt: sql`clock_timestamp()`, leaseExpiresAt: null })
          .where(and(eq(runs.id, id), sql`${runs.state} in ('queued', 'running')`));
        return context.json(viewRun(await find(context.var.projectId, id)), 200);
      },
    );

  /** A run that waits already for just this is the answer to asking again. */
  async function queueRun(transaction: Queries, projectId: string, stage: Stage, asked: string | undefined) {
    const own = eq(projects.id, projectId);
    const [project] = await transaction.select({ revision: projects.revision }).from(projects).where(own).for('update');
    const of = eq(runs.projectId, projectId);
    const backbone = asked ?? (await chosenBackbone(transaction, projectId, backbones));
    const same = and(of, eq(runs.state, 'queued'), eq(runs.stage, stage), eq(runs.backbone, backbone));
    const [waiting] = await transaction.select().from(runs).where(same).limit(1);
    if (waiting) return waiting;
    const revision = project!.revision;
    const values = { projectId, revision, automatic: false, stage, backbone, state: 'queued' as const };
    const [made] = await transaction.insert(runs).values(values).returning();
    return made!;
  }

  async function find(projectId: string, runId: string) {
    const own = and(eq(runs.id, asId(runId, 'run')), eq(runs.projectId, projectId));
    const [found] = await db.select().from(runs).where(own);
    if (!found) throw notThere('run');
    return found;
  }
}

function oneOf<T extends string>(what: string, known: readonly T[], asked: string): T {
  const found = known.find((one) => one === asked);
  if (!found) throw new Problem(422, `unknown-${what}`, `There is no ${what} ${asked}; there is ${known.join(', ')}.`);
  return found;
}
