/** The export function: downloads of models. */
import { connect } from '#shared/database.ts';
import { serve } from '#shared/serve.ts';
import { start } from '#shared/start.ts';
import { createExport } from './app.ts';

await start('export', async ({ settings, log, stopping, opened }) => {
  const postgres = connect(settings.DATABASE_URL);
  opened.defer(postgres.close);
  const app = createExport({ db: postgres.db, settings, log });
  await serve(app, { port: settings.PORT, drainSeconds: settings.DRAIN_SECONDS, stopping, log });
});
