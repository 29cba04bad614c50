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

/** Files that the Python child has written into the folder it was told. */
export interface Written {
  accuracy: number;
  artifacts: { name: string; type: string }[];
}

/** What it gives for a training; all files are written. */
export interface Trained extends Written {
  report: Report;
}

/** A model that nobody sees, and the names of its artifacts that are stored. */
export interface Stored {
  modelId: string;
  names: string[];
}

/**
 * Stores artifacts under a model that nobody sees: a new one, or the one that has others of them already.
 *
 * @param folder that holds a file for each artifact.
 */
export async function storeArtifacts(
  postgres: Postgres,
  { projectId, runId, attempt, revision, stage, backbone }: Lease,
  dataset: Dataset,
  { accuracy, artifacts }: Written,
  folder: string,
  stored?: Stored,
): Promise<Stored> {
  const classNames = dataset.classes.map(({ name }) => name);
  const insert = async () => {
    const [model] = await postgres.db
      .insert(models)
      .values({ projectId, runId, attempt, revision, stage, backbone, accuracy, classes: classNames })
      .returning({ id: models.id });
    return { modelId: model!.id, names: [] };
  };
  const { modelId, names } = stored ?? (await insert());
  const missing = artifacts.filter(({ name }) => !names.includes(name));
  await Promise.all(
    missing.map(({ name, type }) => writeArtifact(postgres, modelId, { name, type, path: join(folder, name) })),
  );
  return { modelId, names: [...names, ...missing.map(({ name }) => name)] };
}

/**
 * Stores the artifacts that are not stored yet, then checks lease, project and classes once more and makes their model the
 * project's current one.
 *
 * @param folder that holds a file for each artifact.
 * @param clock whose laps go into the run's report.
 * @param stored what was stored while the rest was still at work.
 * @returns the model's id, or null when a class it knows is gone (the run is superseded by the one that follows), and for a
 *   fine-tuning without artifacts, which was no better than what there is.
 * @throws LeaseLost
 */
export async function publishModel(
  postgres: Postgres,
  lease: Lease,
  dataset: Dataset,
  trained: Trained,
  folder: string,
  clock: Stopwatch = stopwatch({}),
  stored?: Stored,
): Promise<string | null> {
  const { db } = postgres;
  const { projectId } = lease;
  const { report } = trained;
  if (lease.stage === 'fine-tune' && trained.artifacts.length === 0) {
    await endRun(db, lease, 'succeeded', withSeconds(report, clock));
    return null;
  }
  const { modelId } = await storeArtifacts(postgres, lease, dataset, trained, folder, stored);
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
