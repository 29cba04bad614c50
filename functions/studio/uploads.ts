import { createRoute, z } from '@hono/zod-openapi';
import { and, count, eq, sql, sum } from 'drizzle-orm';
import type { Queries } from '#shared/database.ts';
import imageFacts from '#shared/images.json' with { type: 'json' };
import { uploadKey } from '#shared/keys.ts';
import { Problem } from '#shared/problem.ts';
import { images } from '#shared/schema.ts';
import { asId, body, changeOwnProject, changing, createRoutes, json, notThere, refusals, type Studio } from './api.ts';
import { findClass } from './classes.ts';
import { countUploads } from './limits.ts';
import { classParams, imageParams, newUploads, upload } from './schemas.ts';

const types = Object.keys(imageFacts.types);

export function uploadRoutes(studio: Studio) {
  const { db, bucket, settings } = studio;
  return createRoutes()
    .openapi(
      createRoute({
        method: 'post',
        path: '/api/projects/{projectId}/classes/{classId}/uploads',
        summary: 'Ask for uploads: a presigned POST for each file, which goes straight to the bucket',
        request: { params: classParams, ...body(newUploads) },
        responses: {
          201: json(z.object({ uploads: z.array(upload) }), 'One for each file, in order'),
          ...refusals(...changing, 400, 422),
        },
      }),
      async (context) => {
        const { projectId } = context.var;
        const classId = asId(context.req.valid('param').classId, 'class');
        const { files } = context.req.valid('json');
        files.forEach(refuseUnsendable);
        const asked = files.reduce((total, { bytes }) => total + bytes, 0);
        await countUploads(studio, context, projectId, { images: files.length, bytes: asked });
        const made = await changeOwnProject(studio, projectId, async ({ transaction }) => {
          await findClass(transaction, projectId, classId);
          await refuseFull(transaction, projectId, files.length, asked);
          const values = files.map((file) => ({ ...file, projectId, classId, uploadClassId: classId }));
          return await transaction.insert(images).values(values).returning();
        });
        return context.json({ uploads: await Promise.all(made.map(presign)) }, 201);
      },
    )
    .openapi(
      createRoute({
        method: 'post',
        path: '/api/projects/{projectId}/images/{imageId}/upload',
        summary: 'A fresh presigned POST for an image that is still pending',
        request: { params: imageParams },
        responses: { 200: json(upload, 'The presigned POST'), ...refusals(...changing, 409) },
      }),
      async (context) => {
        const { projectId } = context.var;
        const imageId = asId(context.req.valid('param').imageId, 'image');
        const own = and(eq(images.id, imageId), eq(images.projectId, projectId));
        const [image] = await db
          .update(images)
          .set({ linkedAt: sql`clock_timestamp()` })
          .where(and(own, eq(images.state, 'pending')))
          .returning();
        if (image) return context.json(await presign(image), 200);
        const [there] = await db.select({ state: images.state }).from(images).where(own);
        if (!there) throw notThere('image');
        throw new Problem('not-pending', { state: there.state });
      },
    );

  /** @throws Problem 422 for a type that is not taken, 413 for a file that is too large. */
  function refuseUnsendable({ name, type, bytes }: { name: string; type: string; bytes: number }): void {
    if (!types.includes(type)) throw new Problem('unsupported-type', { name, type, types });
    const limit = settings.IMAGE_BYTES;
    if (bytes > limit) throw new Problem('too-large', { name, bytes, limit, megabytes: limit / 1e6 });
  }

  /** @throws Problem 422 when the project has no room for so many images, or for so many bytes. */
  async function refuseFull(transaction: Queries, projectId: string, more: number, bytes: number): Promise<void> {
    const [now] = await transaction
      .select({ count: count(), bytes: sum(images.bytes).mapWith(Number) })
      .from(images)
      .where(eq(images.projectId, projectId));
    const room = settings.IMAGES_PER_PROJECT - now!.count;
    if (more > room) throw new Problem('too-many-images', { limit: settings.IMAGES_PER_PROJECT, room });
    const limit = settings.BYTES_PER_PROJECT;
    if (now!.bytes + bytes > limit) throw new Problem('too-many-bytes', { limit });
  }

  async function presign({ id, projectId, uploadClassId, type, bytes }: typeof images.$inferSelect) {
    const key = uploadKey({ projectId, classId: uploadClassId, imageId: id });
    const post = await bucket.presignUpload(key, { type, bytes, seconds: settings.UPLOAD_LINK_SECONDS });
    return { imageId: id, ...post };
  }
}
