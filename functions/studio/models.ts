import { createRoute, z } from '@hono/zod-openapi';
import { and, eq, isNotNull } from 'drizzle-orm';
import { models, projects } from '#shared/schema.ts';
import {
  asId,
  changeOwnProject,
  changing,
  createRoutes,
  json,
  notThere,
  reading,
  refusals,
  type Studio,
} from './api.ts';
import { readModels, readProject } from './project-view.ts';
import { model, modelParams, project, projectParams } from './schemas.ts';

export function modelRoutes(studio: Studio) {
  return createRoutes()
    .openapi(
      createRoute({
        method: 'get',
        path: '/api/projects/{projectId}/models',
        summary: 'Models, newest first',
        request: { params: projectParams },
        responses: { 200: json(z.object({ models: z.array(model) }), 'Those that are kept'), ...refusals(...reading) },
      }),
      async (context) => context.json({ models: await readModels(studio, context.var.projectId) }, 200),
    )
    .openapi(
      createRoute({
        method: 'post',
        path: '/api/projects/{projectId}/models/{modelId}/restore',
        summary: 'Make a model the current one, until a later run succeeds',
        request: { params: modelParams },
        responses: { 200: json(project, 'The project'), ...refusals(...changing) },
      }),
      async (context) => {
        const { projectId } = context.var;
        const modelId = asId(context.req.valid('param').modelId, 'model');
        await changeOwnProject(studio, projectId, async ({ transaction }) => {
          const own = and(eq(models.id, modelId), eq(models.projectId, projectId), isNotNull(models.publishedAt));
          // The lock waits for a pruning that is deleting the model just now.
          const [found] = await transaction.select({ id: models.id }).from(models).where(own).for('key share');
          if (!found) throw notThere('model');
          await transaction.update(projects).set({ currentModelId: modelId }).where(eq(projects.id, projectId));
          return found;
        });
        return context.json(await readProject(studio, projectId), 200);
      },
    );
}
