/** The migration Job: brings Postgres to the schema of this version, and ends. Running it again changes nothing. */
import { connect } from '#shared/database.ts';
import { migrate } from '#shared/migrate.ts';
import { start } from '#shared/start.ts';

await start('migrate', async ({ settings, log, opened }) => {
  const postgres = connect(settings.DATABASE_URL, { connections: 1 });
  opened.defer(postgres.close);
  await migrate(postgres);
  log.info('Postgres has the schema of this version');
});
