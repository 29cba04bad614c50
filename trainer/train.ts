/** From a training message to a published model. */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Bucket } from '#shared/bucket.ts';
import type { Postgres } from '#shared/database.ts';
import { uploadKey } from '#shared/keys.ts';
import type { Log } from '#shared/log.ts';
import { parseTrainingMessage, type Queues } from '#shared/queues.ts';
import type { SettingsOf } from '#shared/settings.ts';
import type { Detail } from '#shared/words.ts';
import { HandOver } from './consume.ts';
import { type Dataset, readDataset } from './dataset.ts';
import { type EmbeddingStore, readEmbeddings } from './embeddings.ts';
import { failRun, keepLease, type Lease, LeaseLost, releaseLease, takeRun, writeProgress } from './lease.ts';
import { publishModel, type Trained } from './publish.ts';
import { type Torch, TorchError } from './torch.ts';

interface Training extends EmbeddingStore {
  postgres: Postgres;
  queues: Queues;
  torch: Torch;
  settings: SettingsOf<'LEASE_SECONDS' | 'DIRTY_SECONDS' | 'SETTLE_SECONDS' | 'SCRATCH'>;
  /** Aborted when the time to finish after SIGTERM is over: hand the run over. */
  handOver: AbortSignal;
  log: Log;
}

type Step = { percent: number; secondsLeft: number | null };

/** Originals on which every format of the model is run against the trainer's own answer. */
const mostChecked = 8;
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
    const told = log.child({
      project: lease.projectId,
      run: lease.runId,
      attempt: lease.attempt,
      revision: lease.revision,
    });
    told.info('training');
    const started = performance.now();
    try {
      const modelId = await keepLease(postgres.db, lease, settings.LEASE_SECONDS, (lost) =>
        train(training, lease, AbortSignal.any([lost, handOver])),
      );
      told.info(
        { model: modelId, seconds: (performance.now() - started) / 1000 },
        modelId ? 'published' : 'superseded',
      );
    } catch (error) {
      if (error instanceof LeaseLost) {
        // Cancelled or taken over: somebody else says what happens next. Out of reach of Postgres: the message comes again.
        told.info({ reason: error.message }, 'lease lost');
        throw new HandOver(error.message);
      }
      if (handOver.aborted) {
        await releaseLease(postgres.db, lease);
        throw new HandOver('this worker is stopping');
      }
      told.error({ err: error }, 'training failed');
      const again = await failRun(postgres.db, lease, explain(error), { final: isHopeless(error) });
      if (again) throw error;
    }
  };
}

/** @returns the id of the published model, or null when the project's classes changed under it. */
async function train(training: Training, lease: Lease, signal: AbortSignal): Promise<string | null> {
  const { postgres, bucket, torch, settings, log } = training;
  const scratch = await mkdtemp(join(settings.SCRATCH, 'ai-teacher-run-'));
  try {
    const dataset = await readDataset(postgres.db, lease.projectId);
    if (dataset.classes.length < 2) throw new TorchError('too-few-images', 'Fewer than two classes have two pictures.');
    const embeddings = join(scratch, 'embeddings.f32');
    const { images, vectors } = await readEmbeddings(training, lease, dataset, scratch, signal);
    const check = await downloadSome(bucket, lease.projectId, images, scratch, signal);
    await pipeline(Readable.from(vectors), createWriteStream(embeddings));
    const out = join(scratch, 'out');
    const trained = await torch.request<Step, Trained>(
      'train',
      {
        stage: lease.stage,
        backbone: lease.backbone,
        classes: dataset.classes.map(({ name }) => name),
        images: images.map(({ id, class: of }) => ({ id, class: of })),
        embeddings,
        check,
        seed: lease.revision,
        out,
      },
      {
        signal,
        onEvent: ({ percent, secondsLeft }) => {
          // A write that is refused also fails the next beat of the lease, which ends the work.
          writeProgress(postgres.db, lease, { percent, secondsLeft }).catch((error) =>
            log.debug({ err: error }, 'progress'),
          );
        },
      },
    );
    signal.throwIfAborted();
    return await publishModel(postgres, lease, dataset, trained, out);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A few originals, spread over the classes and the time of their upload. */
async function downloadSome(
  bucket: Bucket,
  projectId: string,
  images: Dataset['images'],
  folder: string,
  signal: AbortSignal,
): Promise<{ row: number; path: string }[]> {
  const step = Math.max(1, images.length / mostChecked);
  const rows = Array.from({ length: Math.min(mostChecked, images.length) }, (_, index) => Math.floor(index * step));
  const checked = await Promise.all(
    rows.map(async (row) => {
      const { id, uploadClassId, etag } = images[row]!;
      const path = join(folder, `check-${row}`);
      const key = uploadKey({ projectId, classId: uploadClassId, imageId: id });
      return (await bucket.download(key, path, { signal, ...(etag && { etag }) })) ? [{ row, path }] : [];
    }),
  );
  return checked.flat();
}

/** The same input would fail in the same way. */
const isHopeless = (error: unknown): boolean =>
  error instanceof TorchError && ['too-few-images', 'bad-input'].includes(error.code);

function explain(error: unknown): Detail {
  const code = error instanceof TorchError ? error.code : 'failed';
  const messages: Record<string, string> = {
    'too-few-images': 'Two classes need two pictures each before a model can be made.',
    'out-of-memory': 'The computer ran out of memory while it was learning.',
  };
  const message = messages[code] ?? 'Something went wrong while learning.';
  return { code, params: {}, message };
}
