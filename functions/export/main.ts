/** The export function: downloads of models. */
import { setFlagsFromString } from 'node:v8';
import { connect } from '#shared/database.ts';
import { serve } from '#shared/serve.ts';
import { start } from '#shared/start.ts';
import { createExport } from './app.ts';

// Most of what a download leaves behind lies outside of V8's heap, whose space for young objects grows to a hundred megabytes by it
// all the same, of which ten are used.
setFlagsFromString('--semi-space-growth-factor=1');

await start('export', async ({ settings, log, stopping, opened }) => {
  // Each of hundreds of downloads waits for a chunk: more answers at once would only lie in memory.
  const postgres = connect(settings.DATABASE_URL, { pipeline: 4 });
  opened.defer(postgres.close);
  const app = createExport({ db: postgres.db, settings, log });
  await serve(app, { port: settings.PORT, drainSeconds: settings.DRAIN_SECONDS, stopping, log });
});
