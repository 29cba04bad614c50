import { createRoute, z } from '@hono/zod-openapi';
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import type { ProjectChange } from '#shared/change-project.ts';
import type { Queries } from '#shared/database.ts';
import { thumbnailKey } from '#shared/keys.ts';
import { Problem } from '#shared/problem.ts';
import { images } from '#shared/schema.ts';
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
import { findClass } from './classes.ts';
import { deleteObjects } from './objects.ts';
import { image, imageParams, imageQuery, moving, projectParams } from './schemas.ts';

const pageSize = 100;

export function imageRoutes(studio: Studio) {
  const { db, bucket, settings } = studio;
  return createRoutes()
    .openapi(
      createRoute({
        method: 'get',
        path: '/api/projects/{projectId}/images',
        summary:
          'Images in the order of their upload, a page at a time: of a class, in a state, or with `ids` (commas between)',
        request: { params: projectParams, query: imageQuery },
        responses: {
          200: json(z.object({ images: z.array(image), next: z.string().nullable() }), 'A page; `next` is its cursor'),
          ...refusals(...reading, 400),
        },
      }),
      async (context) => {
        const { class: classId, state, ids, cursor } = context.req.valid('query');
        const after = cursor ? parseCursor(cursor) : null;
        const found = await db
          .select({ image: images, createdAt })
          .from(images)
          .where(
            and(
              eq(images.projectId, context.var.projectId),
              classId ? eq(images.classId, asId(classId, 'class')) : undefined,
              state ? eq(images.state, state) : undefined,
              ids
                ? inArray(
                    images.id,
                    ids.split(',').map((id) => asId(id, 'image')),
                  )
                : undefined,
              after
                ? sql`(${images.createdAt}, ${images.id}) > (${after.createdAt}::timestamptz, ${after.id}::uuid)`
                : undefined,
            ),
          )
          .orderBy(asc(images.createdAt), asc(images.id))
          .limit(pageSize + 1);
        const page = found.slice(0, pageSize);
        const last = found.length > pageSize ? page.at(-1)! : null;
        const next = last && makeCursor({ createdAt: last.createdAt, id: last.image.id });
        return context.json({ images: await Promise.all(page.map(({ image: one }) => view(one))), next }, 200);
      },
    )
    .openapi(
      createRoute({
        method: 'patch',
        path: '/api/projects/{projectId}/images/{imageId}',
        summary: 'Move an image to another class',
        request: { params: imageParams, ...body(moving) },
        responses: { 200: json(image, 'Moved'), ...refusals(...changing, 400) },
      }),
      async (context) => {
        const { projectId } = context.var;
        const imageId = asId(context.req.valid('param').imageId, 'image');
        const classId = asId(context.req.valid('json').classId, 'class');
        const moved = await changeOwnProject(studio, projectId, async ({ transaction, raiseRevision }) => {
          const before = await findImage(transaction, projectId, imageId);
          await findClass(transaction, projectId, classId);
          const [after] = await transaction.update(images).set({ classId }).where(eq(images.id, imageId)).returning();
          if (before.classId !== classId && before.state === 'ready') raiseRevision();
          return after!;
        });
        return context.json(await view(moved), 200);
      },
    )
    .openapi(
      createRoute({
        method: 'delete',
        path: '/api/projects/{projectId}/images/{imageId}',
        summary: 'Remove an image',
        request: { params: imageParams },
        responses: { 204: { description: 'Removed' }, ...refusals(...changing) },
      }),
      async (context) => {
        const { projectId } = context.var;
        const imageId = asId(context.req.valid('param').imageId, 'image');
        const remove = async ({ transaction, raiseRevision, settle }: ProjectChange) => {
          const before = await findImage(transaction, projectId, imageId);
          await transaction.delete(images).where(eq(images.id, imageId));
          if (before.state === 'ready') raiseRevision();
          else settle();
          return before;
        };
        await changeOwnProject(studio, projectId, remove, (removed) => deleteObjects(studio, [removed]));
        return context.body(null, 204);
      },
    );

  async function view({ id, classId, name, state, reason, projectId }: typeof images.$inferSelect) {
    const thumbnailUrl =
      state === 'ready' ? await bucket.presignDownload(thumbnailKey(projectId, id), settings.LINK_SECONDS) : null;
    return { id, classId, name, state, reason, thumbnailUrl };
  }
}

/** Where a page ends, as Postgres writes the time: JavaScript's dates would round it to milliseconds. */
interface Cursor {
  createdAt: string;
  id: string;
}

const createdAt = sql<string>`to_json(${images.createdAt}) #>> '{}'`;
const cursorForm = z.object({ createdAt: z.iso.datetime({ offset: true }), id: z.uuid() });

const makeCursor = (cursor: Cursor): string => Buffer.from(JSON.stringify(cursor)).toString('base64url');

function parseCursor(cursor: string): Cursor {
  try {
    return cursorForm.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString()));
  } catch (cause) {
    throw new Problem('malformed', { where: 'cursor', problem: 'expected the `next` of the page before' }, { cause });
  }
}

/** @throws Problem 404 */
async function findImage(transaction: Queries, projectId: string, imageId: string) {
  const own = and(eq(images.id, imageId), eq(images.projectId, projectId));
  const [found] = await transaction.select().from(images).where(own).for('update');
  if (!found) throw notThere('image');
  return found;
}
