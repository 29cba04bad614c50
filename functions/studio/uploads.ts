import { createRoute, z } from '@hono/zod-openapi';
import { and, count, eq, sql, sum } from 'drizzle-orm';
import { uploadKey } from '#shared/keys.ts';
import { Problem } from '#shared/problem.ts';
import { images, projects } from '#shared/schema.ts';
import { asId, body, changing, createRoutes, json, notThere, refusals, type Studio } from './api.ts';
import { findClass } from './classes.ts';
import { countUploads } from './limits.ts';
import { classParams, imageParams, newUploads, upload } from './schemas.ts';

const types = ['image/jpeg', 'image/png', 'image/webp'];

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
        for (const { name, type, bytes } of files) {
          if (!types.includes(type)) {
            const message = `${name} is ${type || 'of no known type'}; pictures have to be ${types.join(', ')}.`;
            throw new Problem(422, 'unsupported-type', message, { name, type, types });
          }
          if (bytes > settings.IMAGE_BYTES) {
            const message = `${name} has ${bytes} bytes; a picture may have ${settings.IMAGE_BYTES}. Make it smaller.`;
            throw new Problem(413, 'too-large', message, { name, bytes, limit: settings.IMAGE_BYTES });
          }
        }
        const asked = files.reduce((total, { bytes }) => total + bytes, 0);
        await countUploads(studio, context, projectId, { images: files.length, bytes: asked });
        const made = await db.transaction(async (transaction) => {
          await transaction.select({ id: projects.id }).from(projects).where(eq(projects.id, projectId)).for('update');
          await findClass(transaction, projectId, classId);
          const [now] = await transaction
            .select({ count: count(), bytes: sum(images.bytes).mapWith(Number) })
            .from(images)
            .where(eq(images.projectId, projectId));
          const room = settings.IMAGES_PER_PROJECT - now!.count;
          if (files.length > room) {
            const message = `A project has at most ${settings.IMAGES_PER_PROJECT} pictures; there is room for ${room} more.`;
            throw new Problem(422, 'too-many-images', message, { room });
          }
          if (now!.bytes + asked > settings.BYTES_PER_PROJECT) {
            const message = `All pictures of a project may have ${settings.BYTES_PER_PROJECT} bytes. Remove some first.`;
            throw new Problem(422, 'too-many-bytes', message, { limit: settings.BYTES_PER_PROJECT });
          }
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
        throw new Problem(409, 'not-pending', `This picture came already and is ${there.state}.`, {
          state: there.state,
        });
      },
    );

  async function presign({ id, projectId, uploadClassId, type, bytes }: typeof images.$inferSelect) {
    const key = uploadKey({ projectId, classId: uploadClassId, imageId: id });
    const post = await bucket.presignUpload(key, { type, bytes, seconds: settings.UPLOAD_LINK_SECONDS });
    return { imageId: id, ...post };
  }
}
