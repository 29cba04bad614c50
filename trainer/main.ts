/** The trainer: takes upload events and training messages until it is told to stop. */
import { mkdir, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { createBucket } from '#shared/bucket.ts';
import { connect } from '#shared/database.ts';
import { uploadsPrefix } from '#shared/keys.ts';
import { createQueues } from '#shared/queues.ts';
import { start } from '#shared/start.ts';
import { consume, sleep } from './consume.ts';
import { createIngest } from './ingest.ts';
import { createPictures } from './pictures.ts';
import { checkRoom, takeFolder } from './room.ts';
import { createPythonChild } from './python-child.ts';
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

  const python = {
    python: settings.PYTHON,
    root: fileURLToPath(new URL('..', import.meta.url)),
    threads: settings.THREADS,
    backbones: settings.BACKBONES,
    cache: settings.MODEL_CACHE,
    device: settings.DEVICE,
    gpuMemory: settings.GPU_MEMORY,
    log,
  };
  // Two children: a picture that crashes its decoder must not take a training with it, nor wait for one.
  const decoder = createPythonChild({ ...python, role: 'ingest' });
  opened.defer(decoder.close);
  const torch = createPythonChild({ ...python, role: 'train' });
  opened.defer(torch.close);
  // Both start at once; pictures need not wait for torch, which takes seconds to import.
  const warm = torch.hello();
  warm.then(
    (train) => log.info({ train }, 'ready to train'),
    (error) => log.error({ err: error }, 'training will not work'),
  );
  log.info({ ingest: await decoder.hello() }, 'ready for pictures');

  const pictures = createPictures(decoder, { pixels: settings.IMAGE_PIXELS, log });
  const handOver = new AbortController();
  stopping.addEventListener('abort', async () => {
    await sleep(settings.DRAIN_SECONDS);
    handOver.abort(new Error('The time to finish is over.'));
  });

  const sqs = await queues.client();
  const queue = {
    sqs,
    visibilitySeconds: Math.ceil(settings.LEASE_SECONDS),
    stopping,
    log,
    check: () =>
      Promise.all([
        postgres.db.execute('select 1'),
        checkRoom(settings.SCRATCH),
        // No object has this key: whether S3 answers is what is asked.
        bucket.head(uploadsPrefix),
      ]),
  };
  await Promise.all([
    consume({
      ...queue,
      queueUrl: settings.UPLOADS_QUEUE_URL,
      concurrency: 64,
      handle: createIngest({ db: postgres.db, bucket, queues, pictures, settings, log }),
    }),
    consume({
      ...queue,
      queueUrl: settings.TRAINING_QUEUE_URL,
      // The child trains one run at a time; other workers take what waits.
      concurrency: 1,
      handle: createTrain({
        postgres,
        bucket,
        queues,
        pictures,
        torch,
        settings,
        handOver: handOver.signal,
        stopping,
        log,
      }),
    }),
  ]);
});
