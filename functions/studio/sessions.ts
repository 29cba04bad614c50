/** Ending what opens projects: a browser's session, and a key. */
import { createRoute } from '@hono/zod-openapi';
import { eq } from 'drizzle-orm';
import { createKey } from '#shared/access.ts';
import { projects } from '#shared/schema.ts';
import { endSession } from './access.ts';
import { changing, createRoutes, json, refusals, type Studio } from './api.ts';
import { newKey, projectParams } from './schemas.ts';

export function sessionRoutes(studio: Studio) {
  const { db } = studio;
  return createRoutes()
    .openapi(
      createRoute({
        method: 'delete',
        path: '/api/session',
        summary: 'End this session: its projects are then open to their keys alone',
        security: [{ session: [] }, {}],
        responses: { 204: { description: 'Ended, or there was none' }, ...refusals(403, 413) },
      }),
      async (context) => {
        await endSession(studio, context);
        return context.body(null, 204);
      },
    )
    .openapi(
      createRoute({
        method: 'post',
        path: '/api/projects/{projectId}/key',
        summary: 'A new key, shown this once; the one before ends at once, and with it all links to models',
        request: { params: projectParams },
        responses: { 201: json(newKey, 'The key'), ...refusals(...changing) },
      }),
      async (context) => {
        const { key, hash: keyHash } = createKey();
        await db.update(projects).set({ keyHash }).where(eq(projects.id, context.var.projectId));
        return context.json({ key }, 201);
      },
    );
}
