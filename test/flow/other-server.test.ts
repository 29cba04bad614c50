/** The same system on another implementation of S3 and SQS (moto) than the embedded one: nothing in it leans on ministack. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Local, startLocal } from '../../infra/local/start.ts';
import { createLearner, type File } from '../support/learner.ts';
import { draw, type Kind, kinds } from '../support/pictures.ts';
import { freePort } from '../support/ports.ts';

let data: string;
let moto: ChildProcess;
let system: Local;

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'ai-teacher-moto-'));
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  moto = spawn('.venv/bin/moto_server', ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  for (const until = Date.now() + 60_000; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
    if (
      await fetch(`${endpoint}/moto-api/`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      break;
    if (Date.now() > until || moto.exitCode !== null) throw new Error('moto did not start.');
  }
  system = await startLocal({
    data,
    port: 0,
    environment: {
      ...process.env,
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ENDPOINT_URL_SQS: endpoint,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      UPLOADS_QUEUE_URL: `${endpoint}/123456789012/uploads`,
      TRAINING_QUEUE_URL: `${endpoint}/123456789012/training`,
    },
  });
});
afterAll(async () => {
  await system?.stop();
  moto?.kill('SIGKILL');
  await rm(data, { recursive: true, force: true });
});

test('pictures become a model that is right about others, and more of them a newer one', async () => {
  expect(system.processes.aws).toBeUndefined();
  const learner = await createLearner(system.studioUrl, 'Elsewhere', [...kinds]);
  const files = (kind: Kind, from: number, to: number): Promise<File[]> =>
    Promise.all(
      Array.from({ length: to - from }, async (_, index) => ({
        name: `${index}.png`,
        type: 'image/png',
        data: await draw(kind, from + index, { type: 'png' }),
      })),
    );
  for (const kind of kinds) await learner.upload(kind, await files(kind, 0, 8));
  const { model } = await learner.until(({ status }) => status === 'ready');
  for (const kind of kinds) {
    expect(await learner.predict(model!, await draw(kind, 300))).toMatchObject({ label: kind });
  }
  await learner.upload('dots', await files('dots', 8, 10));
  const later = await learner.until((project) => project.status === 'ready' && project.model!.id !== model!.id);
  expect(later.classes.map(({ images }) => images.ready)).toEqual([8, 10]);

  const { images } = await learner.images('?state=ready');
  await learner.call('DELETE', `/images/${images[0]!.id}`);
  expect((await fetch(images[0]!.thumbnailUrl!)).status).toBe(404);
});
