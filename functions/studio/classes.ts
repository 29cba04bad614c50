import { createRoute } from '@hono/zod-openapi';
import { and, count, eq, max, ne } from 'drizzle-orm';
import type { ProjectChange } from '#shared/change-project.ts';
import type { Queries } from '#shared/database.ts';
import { Problem } from '#shared/problem.ts';
import { classes, images } from '#shared/schema.ts';
import { asId, body, changeOwnProject, changing, createRoutes, json, notThere, refusals, type Studio } from './api.ts';
import { deleteObjects } from './objects.ts';
import { classParams, projectClass, projectParams, renaming } from './schemas.ts';

export function classRoutes(studio: Studio) {
  const { settings } = studio;
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
        const added = await changeOwnProject(studio, projectId, async ({ transaction }) => {
          const [now] = await transaction
            .select({ count: count(), last: max(classes.position) })
            .from(classes)
            .where(eq(classes.projectId, projectId));
          const limit = settings.CLASSES_PER_PROJECT;
          if (now!.count >= limit) throw new Problem('too-many-classes', { limit });
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
        await changeOwnProject(studio, projectId, async ({ transaction, raiseRevision }) => {
          const before = await findClass(transaction, projectId, classId);
          if (before.name === name) return before;
          await refuseTaken(transaction, projectId, name, classId);
          await transaction.update(classes).set({ name }).where(eq(classes.id, classId));
          // A class without ready images is not part of any model.
          if (before.ready > 0) raiseRevision();
          return before;
        });
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
        const remove = async ({ transaction, raiseRevision, settle }: ProjectChange) => {
          const { ready } = await findClass(transaction, projectId, classId);
          const removed = await transaction.delete(images).where(eq(images.classId, classId)).returning();
          await transaction.delete(classes).where(eq(classes.id, classId));
          if (ready > 0) raiseRevision();
          else settle();
          return removed;
        };
        await changeOwnProject(studio, projectId, remove, (removed) => deleteObjects(studio, removed));
        return context.body(null, 204);
      },
    );
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

/** @throws Problem 409 when another class than `except` has this name. */
async function refuseTaken(queries: Queries, projectId: string, name: string, except?: string): Promise<void> {
  const [taken] = await queries
    .select({ id: classes.id })
    .from(classes)
    .where(and(eq(classes.projectId, projectId), eq(classes.name, name), except ? ne(classes.id, except) : undefined));
  if (taken) throw new Problem('class-exists', { name });
}
