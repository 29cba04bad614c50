/** A model becomes visible in one statement of one transaction, or not at all. */
import { join } from 'node:path';
import { and, count, eq, inArray, isNull, sql } from 'drizzle-orm';
import { writeArtifact } from '#shared/artifacts.ts';
import type { Postgres, Queries } from '#shared/database.ts';
import { classes, models, projects, runs } from '#shared/schema.ts';
import type { Report } from '#shared/words.ts';
import type { Dataset } from './dataset.ts';
import { isMine, type Lease, LeaseLost } from './lease.ts';
import { type Stopwatch, stopwatch } from './stopwatch.ts';

/** What the Python child gives for a training; its own files are in the folder it was told. */
export interface Trained {
  accuracy: number;
  artifacts: { name: string; type: string }[];
  report: Report;
}

/**
 * Stores the artifacts under a model that nobody sees, then checks lease, project and classes once more and makes it the
 * project's current one.
 *
 * @param folder that holds a file for each artifact.
 * @param clock whose laps go into the run's report.
 * @returns the model's id, or null when a class it knows is gone (the run is superseded by the one that follows), and for a
 *   fine-tuning without artifacts, which was no better than what there is.
 * @throws LeaseLost
 */
export async function publishModel(
  postgres: Postgres,
  lease: Lease,
  dataset: Dataset,
  { accuracy, artifacts, report }: Trained,
  folder: string,
  clock: Stopwatch = stopwatch({}),
): Promise<string | null> {
  const { db } = postgres;
  const { runId, projectId, attempt, revision, stage, backbone } = lease;
  if (stage === 'fine-tune' && artifacts.length === 0) {
    await endRun(db, lease, 'succeeded', withSeconds(report, clock));
    return null;
  }
  const names = dataset.classes.map(({ name }) => name);
  const [model] = await db
    .insert(models)
    .values({ projectId, runId, attempt, revision, stage, backbone, accuracy, classes: names })
    .returning({ id: models.id });
  const modelId = model!.id;
  await Promise.all(
    artifacts.map(({ name, type }) => writeArtifact(postgres, modelId, { name, type, path: join(folder, name) })),
  );
  clock.lap('store');
  return await db.transaction(async (transaction) => {
    const project = and(eq(projects.id, projectId), isNull(projects.deletedAt));
    const [open] = await transaction.select({ id: projects.id }).from(projects).where(project).for('update');
    if (!open) throw new LeaseLost(`Project ${projectId} was deleted.`);
    const ids = dataset.classes.map(({ id }) => id);
    const [there] = await transaction.select({ classes: count() }).from(classes).where(inArray(classes.id, ids));
    const complete = there?.classes === ids.length;
    await endRun(
      transaction,
      lease,
      complete ? 'succeeded' : 'superseded',
      complete ? withSeconds(report, clock) : null,
    );
    if (!complete) return null;
    await transaction.update(models).set({ publishedAt: sql`clock_timestamp()` }).where(eq(models.id, modelId));
    await transaction.update(projects).set({ currentModelId: modelId }).where(eq(projects.id, projectId));
    return modelId;
  });
}

/** The report of the run tells more than the file can: storing the file is a part of it. */
const withSeconds = (report: Report, clock: Stopwatch): Report => ({
  ...report,
  seconds: { ...report.seconds, ...clock.seconds },
});

/** @throws LeaseLost */
async function endRun(queries: Queries, lease: Lease, state: 'succeeded' | 'superseded', report: Report | null) {
  const ended = await queries
    .update(runs)
    .set({
      state,
      percent: 100,
      secondsLeft: 0,
      error: null,
      report,
      leaseExpiresAt: null,
      finishedAt: sql`clock_timestamp()`,
    })
    .where(and(isMine(lease), sql`${runs.leaseExpiresAt} > clock_timestamp()`))
    .returning({ id: runs.id });
  if (ended.length === 0) throw new LeaseLost(`Run ${lease.runId}, attempt ${lease.attempt}, is no longer ours.`);
}
