/** maintain: what must happen though nobody asks. A CronJob in the cluster, a timer locally; runs once and ends. */
import { createBucket } from '#shared/bucket.ts';
import { connect } from '#shared/database.ts';
import { createQueues } from '#shared/queues.ts';
import { start } from '#shared/start.ts';
import { eraseOrphans, eraseProjects, forgetAddresses, forgetSessions, oncePerDay } from './erase.ts';
import { findMissedEvents } from './missed-events.ts';
import { pruneModels } from './models.ts';
import { remindOverdue } from './overdue.ts';

await start('maintain', async ({ settings, log, stopping, opened }) => {
  const postgres = connect(settings.DATABASE_URL, { connections: 2 });
  opened.defer(postgres.close);
  const bucket = createBucket(settings);
  opened.defer(bucket.close);
  const queues = createQueues(settings);
  opened.defer(queues.close);
  const { db } = postgres;

  const steps: [string, () => Promise<unknown>][] = [
    ['missed events', () => findMissedEvents({ db, bucket, queues, settings })],
    ['overdue projects', () => remindOverdue({ db, queues, settings })],
    ['erased projects', () => eraseProjects(db, bucket, settings)],
    ['pruned models', () => pruneModels(db, settings.MODELS_PER_PROJECT)],
    ['forgotten sessions', () => forgetSessions(db)],
    ['forgotten addresses', () => forgetAddresses(db)],
    ['orphaned objects', () => oncePerDay(db, () => eraseOrphans(db, bucket))],
  ];
  const failed: string[] = [];
  for (const [step, work] of steps) {
    // What is left is done by the next one.
    if (stopping.aborted) break;
    try {
      log.info({ step, result: await work() }, 'done');
    } catch (error) {
      // One step that fails must not keep the others from being done.
      log.error({ err: error, step }, 'failed');
      failed.push(step);
    }
  }
  if (failed.length > 0) throw new Error(`Failed: ${failed.join(', ')}.`);
});
