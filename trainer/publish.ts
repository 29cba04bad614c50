/** A model becomes visible in one statement of one transaction, or not at all. */
import { join } from 'node:path';
import { and, count, eq, inArray, sql } from 'drizzle-orm';
import { writeArtifact } from '#shared/artifacts.ts';
import { type ChangeDeps, changeProject, type ProjectChange } from '#shared/change-project.ts';
import { databaseTime, type Postgres, type Queries } from '#shared/database.ts';
import { classes, models, projects, runs } from '#shared/schema.ts';
import type { Report } from '#shared/words.ts';
import type { Dataset } from './dataset.ts';
import { isMine, type Lease, LeaseLost } from './lease.ts';
import type { Stage } from './stages/stage.ts';
import type { Stopwatch } from './stopwatch.ts';

/** Files that the Python child has written into the folder that it was given. */
export interface Written {
  accuracy: number;
  artifacts: { name: string; type: string }[];
}

/** What the Python child answers; all files are written. */
export interface Trained extends Written {
  report: Report;
}

/** A model that nobody sees, and the names of its artifacts that are stored. */
export interface Stored {
  modelId: string;
  names: string[];
}

interface Storing {
  lease: Lease;
  dataset: Dataset;
  written: Written;
  /** The folder that holds a file for each artifact. */
  folder: string;
  /** The model that has others of these artifacts already. */
  stored?: Stored | undefined;
}

/** Stores artifacts under a model that nobody sees: a new one, or the one that has others of them already. */
export async function storeArtifacts(
  postgres: Postgres,
  { lease, dataset, written, folder, stored }: Storing,
): Promise<Stored> {
  const { modelId, names } = stored ?? { modelId: await insertModel(postgres.db, lease, dataset, written), names: [] };
  const missing = written.artifacts.filter(({ name }) => !names.includes(name));
  await Promise.all(
    missing.map(({ name, type }) => writeArtifact(postgres, modelId, { name, type, path: join(folder, name) })),
  );
  return { modelId, names: [...names, ...missing.map(({ name }) => name)] };
}

async function insertModel(db: Queries, lease: Lease, dataset: Dataset, { accuracy }: Written): Promise<string> {
  const { projectId, runId, attempt, revision, stage, backbone } = lease;
  const [model] = await db
    .insert(models)
    .values({
      ...{ projectId, runId, attempt, revision, stage, backbone, accuracy },
      classes: dataset.classes.map(({ name }) => name),
    })
    .returning({ id: models.id });
  return model!.id;
}

interface Publication extends Omit<Storing, 'written'> {
  trained: Trained;
  /** Its laps go into the run's report. */
  clock: Stopwatch;
}

/** @param deps with what the stage writes in the transaction that publishes. */
type PublishDeps = ChangeDeps & { postgres: Postgres; follow: Stage['follow'] };

/**
 * Stores the artifacts that are not stored yet, then checks lease, project and classes once more and makes their model the
 * project's current one.
 *
 * @returns the model's id, or null when a class that it knows is gone (the run is superseded by the one that follows), and
 *   when there are no artifacts: the training came to nothing better than the current model.
 * @throws LeaseLost
 */
export async function publishModel(deps: PublishDeps, publication: Publication): Promise<string | null> {
  const { lease, dataset, trained, clock } = publication;
  const { postgres } = deps;
  if (trained.artifacts.length === 0) {
    await endRun(postgres.db, lease, 'succeeded', withSeconds(trained.report, clock));
    return null;
  }
  const { modelId } = await storeArtifacts(postgres, { ...publication, written: trained });
  clock.lap('store');
  const published = await changeProject(deps, lease.projectId, async (change) => {
    if (!(await hasClasses(change, dataset))) {
      await endRun(change.transaction, lease, 'superseded', null);
      return { modelId: null };
    }
    await endRun(change.transaction, lease, 'succeeded', withSeconds(trained.report, clock));
    await makeCurrent(change, modelId);
    await deps.follow(change, lease, dataset);
    return { modelId };
  });
  if (!published) throw new LeaseLost(lease, 'has no project any more');
  return published.modelId;
}

async function hasClasses({ transaction }: ProjectChange, dataset: Dataset): Promise<boolean> {
  const ids = dataset.classes.map(({ id }) => id);
  const [there] = await transaction.select({ classes: count() }).from(classes).where(inArray(classes.id, ids));
  return there?.classes === ids.length;
}

async function makeCurrent({ transaction, project }: ProjectChange, modelId: string): Promise<void> {
  await transaction.update(models).set({ publishedAt: databaseTime }).where(eq(models.id, modelId));
  await transaction.update(projects).set({ currentModelId: modelId }).where(eq(projects.id, project.id));
}

/** The report of the run has more seconds than the file's: storing the file is a part of them. */
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
      finishedAt: databaseTime,
    })
    .where(and(isMine(lease), sql`${runs.leaseExpiresAt} > clock_timestamp()`))
    .returning({ id: runs.id });
  if (ended.length === 0) throw new LeaseLost(lease);
}
