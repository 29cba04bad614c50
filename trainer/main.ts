/** The trainer: takes upload events and training messages until it is told to stop. */
import { mkdir, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { createBucket } from '#shared/bucket.ts';
import { connect } from '#shared/database.ts';
import { uploadsPrefix } from '#shared/keys.ts';
import type { Log } from '#shared/log.ts';
import { createQueues } from '#shared/queues.ts';
import type { Settings } from '#shared/settings.ts';
import { start } from '#shared/start.ts';
import { consume } from './consume.ts';
import { createIngest } from './ingest.ts';
import { createPictures } from './pictures.ts';
import { createPythonChild } from './python-child.ts';
import { checkRoom, takeFolder } from './room.ts';
import { createFineTuneStage } from './stages/fine-tune-stage.ts';
import { createHeadStage } from './stages/head-stage.ts';
import { createTrain } from './train.ts';

await start('trainer', async ({ settings: given, log, stopping, opened }) => {
  await mkdir(given.MODEL_CACHE, { recursive: true });
  const settings = { ...given, SCRATCH: await takeFolder(given.SCRATCH) };
  opened.defer(() => rm(settings.SCRATCH, { recursive: true, force: true }));
  const postgres = connect(settings.DATABASE_URL, { connections: 8 });
  opened.defer(postgres.close);
  const bucket = createBucket(settings);
  opened.defer(bucket.close);
  const queues = createQueues(settings);
  opened.defer(queues.close);

  const { ingestChild, trainChild, device } = await startChildren(settings, log, opened);
  const pictures = createPictures(ingestChild, { pixels: settings.IMAGE_PIXELS, log });
  const stages = {
    head: createHeadStage(
      abortLater(stopping, settings.DRAIN_SECONDS),
      device.then((name) => name === 'cuda'),
    ),
    'fine-tune': createFineTuneStage(stopping),
  };
  const { db } = postgres;
  const deps = { postgres, db, bucket, queues, pictures, child: trainChild, stages, settings, log };

  const sqs = await queues.client();
  const queue = {
    sqs,
    visibilitySeconds: Math.ceil(settings.LEASE_SECONDS),
    stopping,
    log,
    check: () =>
      Promise.all([
        db.execute('select 1'),
        checkRoom(settings.SCRATCH),
        // No object has this key; only whether S3 answers is of interest.
        bucket.head(uploadsPrefix),
      ]),
  };
  await Promise.all([
    consume({
      ...queue,
      queueUrl: settings.UPLOADS_QUEUE_URL,
      concurrency: 64,
      handle: createIngest(deps),
    }),
    consume({
      ...queue,
      queueUrl: settings.TRAINING_QUEUE_URL,
      // The child trains one run at a time; other workers take what waits.
      concurrency: 1,
      handle: createTrain(deps),
    }),
  ]);
});

/**
 * Starts the two Python children and waits for the one that ingests. There are two so that a picture that crashes its decoder
 * takes no training with it, nor waits for one.
 */
async function startChildren(settings: Settings<'trainer'>, log: Log, opened: AsyncDisposableStack) {
  const options = {
    python: settings.PYTHON,
    root: fileURLToPath(new URL('..', import.meta.url)),
    threads: settings.THREADS,
    backbones: settings.BACKBONES,
    cache: settings.MODEL_CACHE,
    device: settings.DEVICE,
    gpuMemory: settings.GPU_MEMORY,
    log,
  };
  const ingestChild = createPythonChild({ ...options, role: 'ingest' });
  opened.defer(ingestChild.close);
  const trainChild = createPythonChild({ ...options, role: 'train' });
  opened.defer(trainChild.close);
  // Both start at once; pictures need not wait for PyTorch, which takes seconds to import.
  const device = trainChild.hello().then(
    (train) => {
      log.info({ train }, 'ready to train');
      return train.device;
    },
    (error) => {
      log.error({ err: error }, 'training will not work');
      return null;
    },
  );
  log.info({ ingest: await ingestChild.hello() }, 'ready for pictures');
  return { ingestChild, trainChild, device };
}

/** A signal that is aborted so many seconds after another one. */
function abortLater(signal: AbortSignal, seconds: number): AbortSignal {
  const later = new AbortController();
  const start = () =>
    setTimeout(() => later.abort(new Error(`The ${seconds} s to finish in are over.`)), seconds * 1000).unref();
  signal.addEventListener('abort', start, { once: true });
  return later.signal;
}
