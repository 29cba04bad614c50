/** The predict function: asks a model about a picture. */
import { connect } from '#shared/database.ts';
import { serve } from '#shared/serve.ts';
import { start } from '#shared/start.ts';
import { createPredict } from './app.ts';
import { createCache } from './cache.ts';
import type { Classifier } from './classifier.ts';
import { forgetDeleted } from './forget.ts';

/** Models at once in memory, some 40 MB each when ready: a class of 30 learners, each with a model of their own, shares them. */
const mostKept = 8;
const forgetSeconds = 30;

await start('predict', async ({ settings, log, stopping, opened }) => {
  const postgres = connect(settings.DATABASE_URL);
  opened.defer(postgres.close);
  const classifiers = createCache<Classifier>(mostKept, ({ release }) => release());
  opened.defer(classifiers.close);
  const forgetting = setInterval(
    () =>
      forgetDeleted(postgres.db, classifiers).catch((error) =>
        log.warn({ err: error }, 'could not look for deleted models'),
      ),
    forgetSeconds * 1000,
  );
  opened.defer(() => clearInterval(forgetting));
  const app = createPredict({ db: postgres.db, settings, classifiers, log });
  await serve(app, { port: settings.PORT, drainSeconds: settings.DRAIN_SECONDS, stopping, log });
});
