import { createRoute, z } from '@hono/zod-openapi';
import { describeBackbone } from '#shared/backbones.ts';
import { createRoutes, json, type Studio } from './api.ts';
import { backbone } from './schemas.ts';

export function backboneRoutes({ settings }: Studio) {
  const offered = settings.BACKBONES.map(describeBackbone);
  return createRoutes().openapi(
    createRoute({
      method: 'get',
      path: '/api/backbones',
      summary: 'What a run can be asked to use; the first is taken where nobody chooses',
      security: [],
      responses: { 200: json(z.object({ backbones: z.array(backbone) }), 'The same for everybody') },
    }),
    (context) => context.json({ backbones: offered }, 200),
  );
}
