/** Stage `head`: a classifier on frozen embeddings. */
import { and, eq, ne } from 'drizzle-orm';
import type { ProjectChange } from '#shared/change-project.ts';
import { databaseTime } from '#shared/database.ts';
import { runs } from '#shared/schema.ts';
import stageFacts from '#shared/stages.json' with { type: 'json' };
import type { Dataset, TrainingImage } from '../dataset.ts';
import type { Lease } from '../lease.ts';
import { downloadOriginals, downloadThumbnails } from '../originals.ts';
import type { Stage } from './stage.ts';

/** Originals on which each format of the model is checked against the trainer's own answer. */
const mostChecked = 8;
/** Thumbnails that heatmaps are made of, in all and of one class. */
const mostHeatmaps = 24;
const mostHeatmapsOfClass = 4;
/** How long a project has to be quiet before the network itself is tuned: a changed project gets a new head first. */
const quietSeconds = 120;

/**
 * @param handOver aborted when the time to finish after SIGTERM is over: a head is quicker finished than handed over.
 * @param tunesByItself whether a head that is worth it is followed by a fine-tuning that nobody asked for.
 */
export const createHeadStage = (handOver: AbortSignal, tunesByItself: Promise<boolean>): Stage => ({
  handOver,
  gather: async ({ bucket }, { projectId }, dataset, scratch, signal) => {
    await Promise.all([
      downloadOriginals(bucket, spread(dataset.images, mostChecked), scratch.originals, signal),
      downloadThumbnails(bucket, projectId, chooseForHeatmaps(dataset), scratch.thumbnails, signal),
    ]);
    return { dataset, params: {} };
  },
  interrupt: async () => {},
  follow: async (change, lease, dataset) => {
    const outdated = await supersedeTunings(change, lease);
    const wanted = outdated || (isWorthTuning(dataset) && (await tunesByItself));
    const runId = (await findQueuedTuning(change)) ?? (wanted ? await queueTuning(change, lease) : undefined);
    if (runId) change.announceRun(runId, quietSeconds);
  },
});

/** A few images of each class, spread over the time of their upload. */
export function chooseForHeatmaps({ classes, images }: Dataset): TrainingImage[] {
  const each = Math.max(1, Math.min(mostHeatmapsOfClass, Math.floor(mostHeatmaps / classes.length)));
  const byClass = Map.groupBy(images, ({ classId }) => classId);
  return classes.slice(0, mostHeatmaps).flatMap(({ id }) => spread(byClass.get(id) ?? [], each));
}

/** At most `count` items, in equal steps from the first. */
function spread<T>(items: T[], count: number): T[] {
  const step = Math.max(1, items.length / count);
  return Array.from({ length: Math.min(count, items.length) }, (_, index) => items[Math.floor(index * step)]!);
}

/** Whether the network itself is worth its time on a GPU. */
export function isWorthTuning({ classes, images }: Dataset): boolean {
  const { mostImages, worthwhileImages } = stageFacts['fine-tune'];
  const byClass = Map.groupBy(images, ({ classId }) => classId);
  return images.length <= mostImages && classes.every(({ id }) => (byClass.get(id)?.length ?? 0) >= worthwhileImages);
}

/** Ends the fine-tuning of an older revision, whose model would be older than the head's. @returns whether there was one. */
async function supersedeTunings({ transaction, project }: ProjectChange, { revision }: Lease): Promise<boolean> {
  const superseded = await transaction
    .update(runs)
    .set({ state: 'superseded', leaseExpiresAt: null, finishedAt: databaseTime })
    .where(
      and(
        eq(runs.projectId, project.id),
        eq(runs.stage, 'fine-tune'),
        eq(runs.state, 'running'),
        ne(runs.revision, revision),
      ),
    )
    .returning({ id: runs.id });
  return superseded.length > 0;
}

async function findQueuedTuning({ transaction, project }: ProjectChange): Promise<string | undefined> {
  const queued = and(eq(runs.projectId, project.id), eq(runs.stage, 'fine-tune'), eq(runs.state, 'queued'));
  const [run] = await transaction.select({ id: runs.id }).from(runs).where(queued).limit(1);
  return run?.id;
}

/** @returns the new run, or undefined when this revision had its one automatic fine-tuning. */
async function queueTuning(
  { transaction, project }: ProjectChange,
  { revision, backbone }: Lease,
): Promise<string | undefined> {
  const stage = 'fine-tune' as const;
  const [run] = await transaction
    .insert(runs)
    .values({ projectId: project.id, revision, automatic: true, stage, backbone, state: 'queued' })
    .onConflictDoNothing()
    .returning({ id: runs.id });
  return run?.id;
}
