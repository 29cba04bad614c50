import { createRoute } from '@hono/zod-openapi';
import { and, count, eq, max, ne } from 'drizzle-orm';
import type { Queries } from '#shared/database.ts';
import { Problem } from '#shared/problem.ts';
import { raiseRevision } from '#shared/revisions.ts';
import { classes, images, projects } from '#shared/schema.ts';
import { announce, asId, body, changing, createRoutes, json, notThere, refusals, type Studio } from './api.ts';
import { deleteObjects } from './objects.ts';
import { classParams, projectClass, projectParams, renaming } from './schemas.ts';

export function classRoutes(studio: Studio) {
  const { db, settings } = studio;
  return createRoutes()
    .openapi(
      createRoute({
        method: 'post',
        path: '/api/projects/{projectId}/classes',
        summary: 'Add a class',
        request: { params: projectParams, ...body(renaming) },
        responses: { 201: json(projectClass, 'Added'), ...refusals(...changing, 400, 409, 422) },
      }),
      async (context) => {
        const { projectId } = context.var;
        const { name } = context.req.valid('json');
        const added = await db.transaction(async (transaction) => {
          await lock(transaction, projectId);
          const [now] = await transaction
            .select({ count: count(), last: max(classes.position) })
            .from(classes)
            .where(eq(classes.projectId, projectId));
          if (now!.count >= settings.CLASSES_PER_PROJECT) {
            throw new Problem(
              422,
              'too-many-classes',
              `A project has at most ${settings.CLASSES_PER_PROJECT} classes.`,
            );
          }
          await refuseTaken(transaction, projectId, name);
          const position = (now!.last ?? -1) + 1;
          const [made] = await transaction.insert(classes).values({ projectId, name, position }).returning();
          return { id: made!.id, name };
        });
        return context.json(added, 201);
      },
    )
    .openapi(
      createRoute({
        method: 'patch',
        path: '/api/projects/{projectId}/classes/{classId}',
        summary: 'Rename a class',
        request: { params: classParams, ...body(renaming) },
        responses: { 200: json(projectClass, 'Renamed'), ...refusals(...changing, 400, 409, 422) },
      }),
      async (context) => {
        const { projectId } = context.var;
        const classId = asId(context.req.valid('param').classId, 'class');
        const { name } = context.req.valid('json');
        const raised = await db.transaction(async (transaction) => {
          await lock(transaction, projectId);
          const before = await findClass(transaction, projectId, classId);
          if (before.name === name) return false;
          await refuseTaken(transaction, projectId, name, classId);
          await transaction.update(classes).set({ name }).where(eq(classes.id, classId));
          return await raiseIfLearned(transaction, projectId, before.ready);
        });
        if (raised) await announce(studio, projectId);
        return context.json({ id: classId, name }, 200);
      },
    )
    .openapi(
      createRoute({
        method: 'delete',
        path: '/api/projects/{projectId}/classes/{classId}',
        summary: 'Remove a class with its images',
        request: { params: classParams },
        responses: { 204: { description: 'Removed' }, ...refusals(...changing) },
      }),
      async (context) => {
        const { projectId } = context.var;
        const classId = asId(context.req.valid('param').classId, 'class');
        const { gone, raised } = await db.transaction(async (transaction) => {
          await lock(transaction, projectId);
          const { ready } = await findClass(transaction, projectId, classId);
          const own = await transaction.delete(images).where(eq(images.classId, classId)).returning();
          await transaction.delete(classes).where(eq(classes.id, classId));
          return { gone: own, raised: await raiseIfLearned(transaction, projectId, ready) };
        });
        await Promise.all([raised && announce(studio, projectId), deleteObjects(studio, gone)]);
        return context.body(null, 204);
      },
    );

  /** What is empty is not part of any model: nothing has to be learned anew. */
  async function raiseIfLearned(transaction: Queries, projectId: string, ready: number): Promise<boolean> {
    return ready > 0 && (await raiseRevision(transaction, projectId, settings.SETTLE_SECONDS));
  }
}

/** Changes of a project's classes go one after the other. */
async function lock(transaction: Queries, projectId: string): Promise<void> {
  await transaction.select({ id: projects.id }).from(projects).where(eq(projects.id, projectId)).for('update');
}

/** @throws Problem 404 */
export async function findClass(queries: Queries, projectId: string, classId: string) {
  const [found] = await queries
    .select({ name: classes.name, ready: count(images.id) })
    .from(classes)
    .leftJoin(images, and(eq(images.classId, classes.id), eq(images.state, 'ready')))
    .where(and(eq(classes.id, classId), eq(classes.projectId, projectId)))
    .groupBy(classes.id);
  if (!found) throw notThere('class');
  return found;
}

async function refuseTaken(queries: Queries, projectId: string, name: string, except?: string): Promise<void> {
  const [taken] = await queries
    .select({ id: classes.id })
    .from(classes)
    .where(and(eq(classes.projectId, projectId), eq(classes.name, name), except ? ne(classes.id, except) : undefined));
  if (taken) throw new Problem(409, 'class-exists', `There is a class ${name} already. Choose another name.`, { name });
}
