/** From a training message to a published model. */
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { checkpointName } from '#shared/artifacts.ts';
import type { Bucket } from '#shared/bucket.ts';
import type { Postgres } from '#shared/database.ts';
import { thumbnailKey } from '#shared/keys.ts';
import type { Log } from '#shared/log.ts';
import { parseTrainingMessage, type Queues } from '#shared/queues.ts';
import type { SettingsOf } from '#shared/settings.ts';
import type { Detail } from '#shared/words.ts';
import { restoreCheckpoint, storeCheckpoint } from './checkpoint.ts';
import { HandOver, Outage } from './consume.ts';
import { type Dataset, readDataset } from './dataset.ts';
import { type EmbeddingStore, readEmbeddings } from './embeddings.ts';
import { failRun, keepLease, type Lease, LeaseLost, releaseLease, takeRun, writeProgress } from './lease.ts';
import { publishModel, type Stored, storeArtifacts, type Trained, type Written } from './publish.ts';
import { blameRoom } from './room.ts';
import { stopwatch } from './stopwatch.ts';
import { type PythonChild, ChildRefusal } from './python-child.ts';
import { downloadOriginals, findTuning, isWorthTuning, mostTunedImages, queueTuning } from './tuning.ts';
import { quietBeforeTuning } from './turns.ts';

interface Training extends EmbeddingStore {
  postgres: Postgres;
  queues: Queues;
  torch: PythonChild;
  settings: SettingsOf<'BACKBONES' | 'LEASE_SECONDS' | 'DIRTY_SECONDS' | 'FINE_TUNE_SECONDS' | 'SCRATCH'>;
  /** Aborted when the time to finish after SIGTERM is over: hand the run over. */
  handOver: AbortSignal;
  /** Aborted by SIGTERM itself: a fine-tuning, which takes long and has a checkpoint, is handed over at once. */
  stopping: AbortSignal;
  log: Log;
}

type Event = { percent: number; secondsLeft: number | null; written?: undefined } | { written: Written };

/** Originals on which every format of the model is run against the trainer's own answer. */
const mostChecked = 8;
/** Thumbnails that heatmaps are made of, in all and of a class. */
const mostLookedAt = 24;
const mostLookedAtOfClass = 4;
/** Queue and Postgres have a clock each: a message this much before its time is sent again rather than taken for an old one. */
const clockSkewSeconds = 1;

/** The handler of the `training` queue: a knock at a project's door. Postgres says what there is to do. */
export function createTrain(training: Training): (body: string) => Promise<void> {
  const { postgres, queues, settings, handOver, log } = training;
  return async (body) => {
    const message = parseTrainingMessage(body);
    const taken = await takeRun(postgres.db, message.projectId, settings);
    if (taken.kind === 'busy') return await queues.sendTraining(message, Math.min(taken.seconds, 5));
    if (taken.kind === 'early' && taken.seconds <= clockSkewSeconds) return await queues.sendTraining(message, 1);
    if (taken.kind !== 'taken') return;
    const { lease } = taken;
    // Another learner's turn: who knocked does so again, whatever becomes of this run.
    if (lease.projectId !== message.projectId) await queues.sendTraining(message);
    const told = log.child({
      project: lease.projectId,
      run: lease.runId,
      attempt: lease.attempt,
      revision: lease.revision,
    });
    told.info('training');
    const started = performance.now();
    const over = lease.stage === 'fine-tune' ? training.stopping : handOver;
    try {
      const modelId = await keepLease(postgres.db, lease, settings.LEASE_SECONDS, (lost) =>
        train(training, lease, AbortSignal.any([lost, over])),
      );
      told.info(
        { model: modelId, seconds: (performance.now() - started) / 1000 },
        modelId ? 'published' : 'not published',
      );
      if (lease.stage === 'head') await knockForTuning(training, lease);
    } catch (error) {
      if (error instanceof LeaseLost) {
        // Cancelled or taken over: somebody else says what happens next. Out of reach of Postgres: the message comes again.
        told.info({ reason: error.message }, 'lease lost');
        throw new HandOver(error.message);
      }
      if (over.aborted) {
        await releaseLease(postgres.db, lease);
        throw new HandOver('this worker is stopping');
      }
      const blamed = isHopeless(error) ? error : await blameRoom(settings.SCRATCH, error);
      if (blamed instanceof Outage) {
        await releaseLease(postgres.db, lease);
        throw blamed;
      }
      told.error({ err: error }, 'training failed');
      const again = await failRun(postgres.db, lease, explain(error), { final: isHopeless(error) });
      if (again) throw error;
    }
  };
}

/** @returns the id of the published model, or null when the project's classes changed under it. */
async function train(training: Training, lease: Lease, signal: AbortSignal): Promise<string | null> {
  const { postgres, bucket, torch, settings, stopping, log } = training;
  const scratch = await mkdtemp(join(settings.SCRATCH, 'run-'));
  let storing: Promise<Stored> | undefined;
  try {
    const dataset = await readDataset(postgres.db, lease.projectId);
    if (dataset.classes.length < 2) throw new ChildRefusal('too-few-images', 'Fewer than two classes have two pictures.');
    const embeddings = join(scratch, 'embeddings.f32');
    const clock = stopwatch({ queue: lease.waited });
    const { images, vectors, seconds } = await readEmbeddings(training, lease, dataset, scratch, signal);
    clock.seconds.ingest = Math.round(seconds * 1000) / 1000;
    clock.lap('embed');
    const [check, look] = await Promise.all([
      downloadSome(bucket, lease.projectId, images, scratch, signal),
      downloadThumbnails(bucket, lease.projectId, dataset, scratch, signal),
    ]);
    await pipeline(Readable.from(vectors), createWriteStream(embeddings));
    const out = join(scratch, 'out');
    const tuning = lease.stage === 'fine-tune' && (await prepareTuning(training, lease, images, scratch, signal));
    clock.lap('download');
    const trained = await torch
      .request<Event, Trained>(
        'train',
        {
          stage: lease.stage,
          backbone: lease.backbone,
          classes: dataset.classes.map(({ name }) => name),
          images: images.map(({ id, class: of }) => ({ id, class: of })),
          embeddings,
          check,
          look,
          seed: lease.revision,
          out,
          ...tuning,
        },
        {
          signal,
          onEvent: (event) => {
            if (event.written) {
              // Files are checked from here on, and stored meanwhile; its failure is told where it is awaited.
              storing = storeArtifacts(postgres, lease, dataset, event.written, out);
              storing.catch(() => {});
              return;
            }
            const { percent, secondsLeft } = event;
            // A write that is refused also fails the next beat of the lease, which ends the work.
            writeProgress(postgres.db, lease, { percent, secondsLeft }).catch((error) =>
              log.debug({ err: error }, 'progress'),
            );
          },
        },
      )
      .catch(async (error) => {
        // The lease is still kept here.
        if (tuning && stopping.aborted) {
          const kept = await storeCheckpoint(postgres, lease, tuning.checkpoint);
          log.info({ run: lease.runId, kept }, 'fine-tuning handed over');
        }
        throw error;
      });
    signal.throwIfAborted();
    clock.lap('learn');
    return await publishModel(postgres, lease, dataset, trained, out, clock, await storing);
  } finally {
    await storing?.catch(() => {});
    await rm(scratch, { recursive: true, force: true });
  }
}

/** What stage `fine-tune` takes beside the rest. */
async function prepareTuning(
  { postgres, bucket, settings }: Training,
  lease: Lease,
  images: Dataset['images'],
  scratch: string,
  signal: AbortSignal,
) {
  if (images.length > mostTunedImages) {
    throw new ChildRefusal('too-many-to-tune', `At most ${mostTunedImages} pictures are tuned on, not ${images.length}.`);
  }
  const folder = join(scratch, 'originals');
  await mkdir(folder);
  const paths = await downloadOriginals(bucket, lease.projectId, images, folder, signal);
  const gone = images.find(({ id }) => !paths.has(id));
  if (gone) throw new Error(`The original of image ${gone.id} is gone; the next attempt knows.`);
  const checkpoint = join(scratch, checkpointName);
  await restoreCheckpoint(postgres, lease, checkpoint);
  return { pictures: images.map(({ id }) => paths.get(id)!), seconds: settings.FINE_TUNE_SECONDS, checkpoint };
}

/** After a head: a fine-tuning by itself where there is a GPU; and one that waited for the head is due again. */
async function knockForTuning({ postgres: { db }, queues, torch }: Training, lease: Lease): Promise<void> {
  const { projectId } = lease;
  const tunes = (await torch.hello()).device === 'cuda' && isWorthTuning(await readDataset(db, projectId));
  const runId = tunes ? await queueTuning(db, lease) : await findTuning(db, projectId);
  if (runId) await queues.sendTraining({ projectId, runId }, quietBeforeTuning);
}

/** A few originals, spread over the classes and the time of their upload. */
async function downloadSome(
  bucket: Bucket,
  projectId: string,
  images: Dataset['images'],
  folder: string,
  signal: AbortSignal,
): Promise<{ row: number; path: string }[]> {
  const rows = spread([...images.keys()], mostChecked);
  const paths = await downloadOriginals(
    bucket,
    projectId,
    rows.map((row) => images[row]!),
    folder,
    signal,
  );
  return rows.flatMap((row) => {
    const path = paths.get(images[row]!.id);
    return path ? [{ row, path }] : [];
  });
}

/** Thumbnails of a few images of each class, spread over the time of their upload. */
async function downloadThumbnails(
  bucket: Bucket,
  projectId: string,
  { classes, images }: Dataset,
  folder: string,
  signal: AbortSignal,
): Promise<{ row: number; path: string }[]> {
  const each = Math.max(1, Math.min(mostLookedAtOfClass, Math.floor(mostLookedAt / classes.length)));
  const rows = classes.slice(0, mostLookedAt).flatMap((_, one) => {
    const own = images.flatMap((image, row) => (image.class === one ? [row] : []));
    return spread(own, each);
  });
  const found = await Promise.all(
    rows.map(async (row) => {
      const path = join(folder, `${row}.webp`);
      const there = await bucket.download(thumbnailKey(projectId, images[row]!.id), path, { signal });
      return there ? [{ row, path }] : [];
    }),
  );
  return found.flat();
}

/** At most `count` of them, in equal steps from the first. */
function spread<T>(all: T[], count: number): T[] {
  const step = Math.max(1, all.length / count);
  return Array.from({ length: Math.min(count, all.length) }, (_, index) => all[Math.floor(index * step)]!);
}

/** The same input would fail in the same way. */
const isHopeless = (error: unknown): boolean =>
  error instanceof ChildRefusal && ['too-few-images', 'too-many-to-tune', 'bad-input'].includes(error.code);

function explain(error: unknown): Detail {
  const full = ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');
  const code = full ? 'out-of-room' : error instanceof ChildRefusal ? error.code : 'failed';
  const messages: Record<string, string> = {
    'too-few-images': 'Two classes need two pictures each before a model can be made.',
    'too-many-to-tune': `The network itself is tuned on at most ${mostTunedImages} pictures.`,
    'out-of-memory': 'The computer ran out of memory while it was learning.',
    'out-of-room': 'The computer has too little room on its disk for so many pictures.',
  };
  const message = messages[code] ?? 'Something went wrong while learning.';
  return { code, params: {}, message };
}
