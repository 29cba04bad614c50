import { createRoute, z } from '@hono/zod-openapi';
import { and, count, eq, isNull, sql } from 'drizzle-orm';
import { createKey } from '#shared/access.ts';
import type { Queries } from '#shared/database.ts';
import { Problem } from '#shared/problem.ts';
import { classes, projects, runs, sessions } from '#shared/schema.ts';
import { ensureSession, findSession } from './access.ts';
import { body, changeOwnProject, changing, createRoutes, json, reading, refusals, type Studio } from './api.ts';
import { countProject } from './limits.ts';
import { readProject, readProjects } from './project-view.ts';
import { createdProject, newProject, project, projectParams, renaming } from './schemas.ts';

export function projectRoutes(studio: Studio) {
  const { db, settings } = studio;
  return createRoutes()
    .openapi(
      createRoute({
        method: 'get',
        path: '/api/projects',
        summary: 'The projects of this session',
        security: [{ session: [] }, {}],
        responses: { 200: json(z.object({ projects: z.array(project) }), 'Newest first; none without a session') },
      }),
      async (context) => {
        const session = await findSession(studio, context);
        return context.json({ projects: session ? await readProjects(studio, session) : [] }, 200);
      },
    )
    .openapi(
      createRoute({
        method: 'post',
        path: '/api/projects',
        summary: 'Create a project; its key is shown this once',
        security: [],
        request: body(newProject),
        responses: { 201: json(createdProject, 'Created'), ...refusals(400, 403, 413, 422, 429) },
      }),
      async (context) => {
        const { name, classes: names = [] } = context.req.valid('json');
        const limit = settings.CLASSES_PER_PROJECT;
        if (names.length > limit) throw new Problem('too-many-classes', { limit });
        const twice = names.find((className, index) => names.indexOf(className) !== index);
        if (twice !== undefined) throw new Problem('class-exists', { name: twice }, { status: 422 });
        await countProject(studio, context);
        const sessionId = await ensureSession(studio, context);
        const { key, hash: keyHash } = createKey();
        const created = await db.transaction(async (transaction) => {
          await refuseTooMany(transaction, sessionId);
          const [made] = await transaction.insert(projects).values({ name, keyHash, sessionId }).returning();
          const values = names.map((one, position) => ({ projectId: made!.id, name: one, position }));
          const own = values.length > 0 ? await transaction.insert(classes).values(values).returning() : [];
          return { id: made!.id, key, name, classes: own.map(({ id, name: called }) => ({ id, name: called })) };
        });
        return context.json(created, 201);
      },
    )
    .openapi(
      createRoute({
        method: 'get',
        path: '/api/projects/{projectId}',
        summary: 'A project with its classes, status, newest run and current model',
        request: { params: projectParams },
        responses: { 200: json(project, 'The project'), ...refusals(...reading) },
      }),
      async (context) => context.json(await readProject(studio, context.var.projectId), 200),
    )
    .openapi(
      createRoute({
        method: 'patch',
        path: '/api/projects/{projectId}',
        summary: 'Rename a project',
        request: { params: projectParams, ...body(renaming) },
        responses: { 200: json(project, 'The project'), ...refusals(...changing, 400, 422) },
      }),
      async (context) => {
        const { projectId } = context.var;
        await db.update(projects).set(context.req.valid('json')).where(eq(projects.id, projectId));
        return context.json(await readProject(studio, projectId), 200);
      },
    )
    .openapi(
      createRoute({
        method: 'delete',
        path: '/api/projects/{projectId}',
        summary: 'Erase a project: at once for everybody, to its last object within minutes',
        request: { params: projectParams },
        responses: { 204: { description: 'Erased' }, ...refusals(...changing) },
      }),
      async (context) => {
        const { projectId } = context.var;
        await changeOwnProject(studio, projectId, async ({ transaction }) => {
          const deletedAt = sql`clock_timestamp()`;
          await transaction.update(projects).set({ deletedAt }).where(eq(projects.id, projectId));
          // The worker of a run finds out at its next write.
          return await transaction
            .update(runs)
            .set({ state: 'cancelled', finishedAt: sql`clock_timestamp()` })
            .where(and(eq(runs.projectId, projectId), sql`${runs.state} in ('queued', 'running')`));
        });
        return context.body(null, 204);
      },
    );

  /** So that the list of a session's projects is all of them. */
  async function refuseTooMany(transaction: Queries, sessionId: string): Promise<void> {
    await transaction.select({ id: sessions.id }).from(sessions).where(eq(sessions.id, sessionId)).for('update');
    const own = and(eq(projects.sessionId, sessionId), isNull(projects.deletedAt));
    const [now] = await transaction.select({ count: count() }).from(projects).where(own);
    const limit = settings.PROJECTS_PER_SESSION;
    if (now!.count >= limit) throw new Problem('too-many-projects', { limit });
  }
}
