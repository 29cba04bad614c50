import { createRoute, z } from '@hono/zod-openapi';
import { and, desc, eq, sql } from 'drizzle-orm';
import type { ProjectChange } from '#shared/change-project.ts';
import { chosenBackbone } from '#shared/chosen-backbone.ts';
import { Problem } from '#shared/problem.ts';
import { runs } from '#shared/schema.ts';
import { type Stage, stages } from '#shared/words.ts';
import {
  asId,
  body,
  changeOwnProject,
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
  const { db } = studio;
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
        const stage = requireKnown('stage', stages, asked.stage ?? 'head');
        const backbone = asked.backbone === undefined ? undefined : requireKnown('backbone', backbones, asked.backbone);
        await countTraining(studio, context, projectId);
        const queued = await changeOwnProject(studio, projectId, (change) => queueRun(change, stage, backbone));
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

  /** Queues a run and announces it; a run that waits already for the same is the answer to asking again. */
  async function queueRun(change: ProjectChange, stage: Stage, asked: string | undefined) {
    const { transaction, project, announceRun } = change;
    const { id: projectId, revision } = project;
    const backbone = asked ?? (await chosenBackbone(transaction, projectId, backbones));
    const waiting = { projectId, stage, backbone, state: 'queued' as const };
    const [same] = await transaction
      .select()
      .from(runs)
      .where(
        and(
          eq(runs.projectId, projectId),
          eq(runs.state, 'queued'),
          eq(runs.stage, stage),
          eq(runs.backbone, backbone),
        ),
      )
      .limit(1);
    const [run] = same
      ? [same]
      : await transaction
          .insert(runs)
          .values({ ...waiting, revision, automatic: false })
          .returning();
    announceRun(run!.id);
    return run!;
  }

  async function find(projectId: string, runId: string) {
    const own = and(eq(runs.id, asId(runId, 'run')), eq(runs.projectId, projectId));
    const [found] = await db.select().from(runs).where(own);
    if (!found) throw notThere('run');
    return found;
  }
}

/** @throws Problem 422 */
function requireKnown<T extends string>(what: 'stage' | 'backbone', known: readonly T[], name: string): T {
  const found = known.find((candidate) => candidate === name);
  if (!found) throw new Problem(`unknown-${what}`, { name, known });
  return found;
}
