/** The studio: the page, and the API that it and other programs use. */
import { OpenAPIHono } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import { health } from '#shared/health.ts';
import { onError, onNotFound, Problem } from '#shared/problem.ts';
import { cookieName, refuseForeignOrigins, requireProject } from './access.ts';
import type { Env, Studio } from './api.ts';
import { backboneRoutes } from './backbones.ts';
import { classRoutes } from './classes.ts';
import { imageRoutes } from './images.ts';
import { modelRoutes } from './models.ts';
import { pageHeaders, pageRoutes } from './page.ts';
import { projectRoutes } from './projects.ts';
import { runRoutes } from './runs.ts';
import { sessionRoutes } from './sessions.ts';
import { uploadRoutes } from './uploads.ts';

/** Of any request: pictures go to the bucket, so the largest is a list of 200 files. */
const mostBytes = 1024 * 1024;

/** @param page folder of the built page. */
export function createStudio(studio: Studio, page: string) {
  const app = new OpenAPIHono<Env>();
  app.onError(onError(studio.log));
  app.notFound(onNotFound);
  app.get('/healthz', health(studio.db));
  app.use(pageHeaders(studio.settings));

  app.use('/api/*', refuseForeignOrigins(studio.settings.STUDIO_URL));
  app.use('/api/*', async (context, next) => {
    await next();
    context.header('Cache-Control', 'no-store');
  });
  app.use(
    '/api/*',
    bodyLimit({
      maxSize: mostBytes,
      onError: () => {
        throw new Problem('request-too-large', { limit: mostBytes });
      },
    }),
  );
  app.use('/api/*', async ({ req }, next) => {
    const type = req.header('Content-Type') ?? 'application/json';
    if (!/^application\/([\w.-]+\+)?json\b/i.test(type) && req.header('Content-Length') !== '0') {
      const problem = `expected JSON with "Content-Type: application/json", got ${type}`;
      throw new Problem('malformed', { where: 'The request', problem });
    }
    await next();
  });
  app.use('/api/projects/:projectId', requireProject(studio));
  app.use('/api/projects/:projectId/*', requireProject(studio));
  for (const routes of [
    sessionRoutes,
    projectRoutes,
    classRoutes,
    uploadRoutes,
    imageRoutes,
    runRoutes,
    modelRoutes,
    backboneRoutes,
  ]) {
    app.route('/', routes(studio));
  }
  const cookie = { type: 'apiKey', in: 'cookie', name: cookieName(studio.settings.STUDIO_URL) } as const;
  app.openAPIRegistry.registerComponent('securitySchemes', 'key', { type: 'http', scheme: 'bearer' });
  app.openAPIRegistry.registerComponent('securitySchemes', 'session', cookie);
  app.doc31('/api/openapi.json', {
    openapi: '3.1.0',
    info: { title: 'AI Teacher', version: '1' },
    servers: [{ url: studio.settings.STUDIO_URL }],
    security: [{ key: [] }, { session: [] }],
  });
  app.all('/api/*', onNotFound);
  app.route('/', pageRoutes(page));
  return app;
}
