/** One run under its lease: from a project's images to a published model. */
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { checkpointName } from '#shared/artifacts.ts';
import type { ChangeDeps } from '#shared/change-project.ts';
import { detailOf } from '#shared/codes.ts';
import type { Log } from '#shared/log.ts';
import type { SettingsOf } from '#shared/settings.ts';
import { leastClasses, type Stage as StageName } from '#shared/words.ts';
import { type Dataset, readDataset, writeRecords } from './dataset.ts';
import { type EmbeddingDeps, embedMissing } from './embeddings.ts';
import { type Lease, writeProgress } from './lease.ts';
import { publishModel, type Stored, storeArtifacts, type Trained, type Written } from './publish.ts';
import { ChildRefusal, type PythonChild } from './python-child.ts';
import type { Scratch, Stage } from './stages/stage.ts';
import { stopwatch } from './stopwatch.ts';

export interface TrainingDeps extends EmbeddingDeps, ChangeDeps {
  child: PythonChild;
  stages: Record<StageName, Stage>;
  settings: SettingsOf<'FINE_TUNE_SECONDS' | 'SCRATCH' | 'SETTLE_SECONDS'>;
  log: Log;
}

type Progress = { percent: number; secondsLeft: number | null; written?: undefined } | { written: Written };

/** @returns the id of the published model, or null when the run ended without one. */
export async function train(deps: TrainingDeps, lease: Lease, signal: AbortSignal): Promise<string | null> {
  const folder = await mkdtemp(join(deps.settings.SCRATCH, 'run-'));
  try {
    return await trainIn(folder, deps, lease, signal);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function trainIn(folder: string, deps: TrainingDeps, lease: Lease, signal: AbortSignal): Promise<string | null> {
  const stage = deps.stages[lease.stage];
  const scratch = await createFolders(folder);
  const clock = stopwatch({ queue: lease.waited });
  const read = requireClasses(await readDataset(deps.postgres.db, lease));
  const embedded = await embedMissing(deps, lease, read, scratch.originals, signal);
  clock.seconds.ingest = embedded.images.reduce((sum, { seconds }) => sum + seconds, 0);
  clock.lap('embed');
  const { dataset, params } = await stage.gather(deps, lease, embedded, scratch, signal);
  requireClasses(dataset);
  const records = join(folder, 'records');
  await pipeline(Readable.from(writeRecords(dataset)), createWriteStream(records));
  clock.lap('download');
  const out = join(folder, 'out');
  const request = {
    stage: lease.stage,
    backbone: lease.backbone,
    classes: dataset.classes.map(({ name }) => name),
    records,
    originals: scratch.originals,
    thumbnails: scratch.thumbnails,
    seed: lease.revision,
    out,
    ...params,
  };
  const { trained, stored } = await learn(deps, lease, dataset, request, signal).catch(async (error) => {
    if (stage.handOver.aborted) await stage.interrupt(deps, lease, scratch);
    throw error;
  });
  signal.throwIfAborted();
  clock.lap('learn');
  const follow = stage.follow;
  return await publishModel({ ...deps, follow }, { lease, dataset, trained, folder: out, stored, clock });
}

async function createFolders(folder: string): Promise<Scratch> {
  const scratch = {
    originals: join(folder, 'originals'),
    thumbnails: join(folder, 'thumbnails'),
    checkpoint: join(folder, checkpointName),
  };
  await Promise.all([mkdir(scratch.originals), mkdir(scratch.thumbnails)]);
  return scratch;
}

/** @throws ChildRefusal, as the Python program would refuse it. */
function requireClasses(dataset: Dataset): Dataset {
  if (dataset.classes.length >= leastClasses) return dataset;
  throw new ChildRefusal('too-few-images', detailOf('too-few-images').message);
}

/** Lets the Python program train. Files that are written are stored while they are still being checked. */
async function learn(
  { postgres, child, log }: TrainingDeps,
  lease: Lease,
  dataset: Dataset,
  request: { out: string },
  signal: AbortSignal,
): Promise<{ trained: Trained; stored: Stored | undefined }> {
  let storing: Promise<Stored> | undefined;
  const onEvent = (event: Progress) => {
    if (event.written) {
      storing = storeArtifacts(postgres, { lease, dataset, written: event.written, folder: request.out });
      // A failure is reported where it is awaited.
      storing.catch(() => {});
      return;
    }
    const { percent, secondsLeft } = event;
    // A write that is refused also fails the next extension of the lease, which ends the work.
    writeProgress(postgres.db, lease, { percent, secondsLeft }).catch((error) => log.debug({ err: error }, 'progress'));
  };
  try {
    const trained = await child.request<Progress, Trained>('train', request, { signal, onEvent });
    return { trained, stored: await storing };
  } catch (error) {
    // Its files must not be removed while they are read.
    await storing?.catch(() => {});
    throw error;
  }
}
