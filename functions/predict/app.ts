/** A picture in, the probability of each class out. */
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import type { Database } from '#shared/database.ts';
import { health } from '#shared/health.ts';
import type { Log } from '#shared/log.ts';
import { openModel } from '#shared/model-access.ts';
import { onError, onNotFound } from '#shared/problem.ts';
import type { SettingsOf } from '#shared/settings.ts';
import { createBudget } from './budget.ts';
import type { Cache } from './cache.ts';
import { type Classifier, loadClassifier } from './classifier.ts';
import { decode, readHeader } from './picture.ts';
import { expectedBytes, readPicture } from './upload.ts';

interface Predict {
  db: Database;
  settings: SettingsOf<'SIGNING_SECRET' | 'TRUSTED_PROXIES' | 'WRONG_KEYS_PER_MINUTE' | 'IMAGE_BYTES' | 'IMAGE_PIXELS'>;
  classifiers: Cache<Classifier>;
  log: Log;
}

/** Of the largest files, as many as may be in memory at once; of the usual ones (the page sends some 100 KB) a hundred times that. */
const largestFiles = 4;

export function createPredict({ db, settings, classifiers, log }: Predict) {
  const bytes = createBudget(largestFiles * settings.IMAGE_BYTES);
  const pixels = createBudget(settings.IMAGE_PIXELS);
  const app = new Hono();
  app.onError(onError(log));
  app.notFound(onNotFound);
  app.get('/healthz', health(db));

  app.use(
    '/models/*',
    cors({ origin: '*', allowMethods: ['POST'], allowHeaders: ['Authorization', 'Content-Type'], maxAge: 86_400 }),
  );

  app.post('/models/:modelId/predict', async (context) => {
    const { req } = context;
    // Asked each time, whatever is in the cache: the project may be deleted.
    const model = await openModel({ db, settings }, context, req.param('modelId'));
    const load = () => loadClassifier(db, model);
    return await bytes.hold(expectedBytes(req.raw, settings.IMAGE_BYTES), async () => {
      const file = await readPicture(req.raw, settings.IMAGE_BYTES);
      const header = await readHeader(file, settings.IMAGE_PIXELS);
      return await classifiers.use(model.id, load, async ({ classify }) => {
        const { probabilities, unknown } = await pixels.hold(header.width * header.height, async () =>
          classify(await decode(file, settings.IMAGE_PIXELS)),
        );
        const scores = model.classes
          .map((name, index) => ({ class: name, probability: probabilities[index]! }))
          .sort((a, b) => b.probability - a.probability);
        const { class: label, probability: confidence } = scores[0]!;
        context.header('Cache-Control', 'no-store');
        return context.json({ modelId: model.id, label, confidence, unknown, scores });
      });
    });
  });
  return app;
}
