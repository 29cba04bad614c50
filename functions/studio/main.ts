/** The studio function: the page and its API. */
import { fileURLToPath } from 'node:url';
import { createBucket } from '#shared/bucket.ts';
import { connect } from '#shared/database.ts';
import { createQueues } from '#shared/queues.ts';
import { serve } from '#shared/serve.ts';
import { start } from '#shared/start.ts';
import { createStudio } from './app.ts';

await start('studio', async ({ settings, log, stopping, opened }) => {
  const postgres = connect(settings.DATABASE_URL);
  opened.defer(postgres.close);
  const bucket = createBucket(settings);
  opened.defer(bucket.close);
  const queues = createQueues(settings);
  opened.defer(queues.close);
  const page = fileURLToPath(new URL('../../dist/web', import.meta.url));
  const app = createStudio({ db: postgres.db, bucket, queues, settings, log }, page);
  await serve(app, { port: settings.PORT, drainSeconds: settings.DRAIN_SECONDS, stopping, log });
});
