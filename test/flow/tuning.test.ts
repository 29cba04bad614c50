/** Fine-tuning on the programs that the cluster runs: asked for, handed over in the middle, judged, and kept only if better. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Run } from '#shared/words.ts';
import { startLocal } from '../../infra/local/start.ts';
import { createLearner, type File } from '../support/learner.ts';
import { draw, kinds } from '../support/pictures.ts';

let data: string;
let system: Awaited<ReturnType<typeof startLocal>>;

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'ai-teacher-tuning-'));
  system = await startLocal({ data, port: 0, environment: { ...process.env, DEVICE: 'cpu', FINE_TUNE_SECONDS: '15' } });
});
afterAll(async () => {
  await system?.stop();
  await rm(data, { recursive: true, force: true });
});

test('a worker that is told to stop hands its checkpoint to the next, and the model stays usable all the while', async () => {
  const learner = await createLearner(system.studioUrl, 'Tuned', ['stripes', 'dots']);
  for (const kind of kinds) {
    const files = Array.from({ length: 8 }, async (_, seed): Promise<File> => {
      return { name: `${seed}.jpg`, type: 'image/jpeg', data: await draw(kind, seed) };
    });
    await learner.upload(kind, await Promise.all(files));
  }
  const before = await learner.until(({ status }) => status === 'ready', 90);
  const asked = await learner.call<Run>('POST', '/runs', { stage: 'fine-tune' });
  const statuses = new Set<string>();
  const reach = (wanted: (run: Run) => boolean) =>
    learner.until(({ status, run }) => {
      statuses.add(status);
      expect(run!.id).toBe(asked.id);
      return wanted(run!);
    }, 120);

  // An epoch is over, and with it there is a checkpoint.
  await reach(({ progress }) => progress.percent > 6);
  system.processes.trainer!.kill('SIGTERM');
  const { run, model } = await reach(({ state }) => !['queued', 'running'].includes(state));
  expect(run).toMatchObject({ state: 'succeeded', stage: 'fine-tune', error: null });
  expect(statuses).toEqual(new Set(['ready']));
  const told = run!.report!.fineTune as { better: boolean; resumed: number; epochs: number };
  expect(told.resumed).toBeGreaterThanOrEqual(1);
  expect(told.epochs).toBeGreaterThanOrEqual(1);
  expect(model!.id === before.model!.id).toBe(!told.better);
  expect(model!.stage).toBe(told.better ? 'fine-tune' : 'head');
  const { seconds } = run!.report!;
  expect(seconds).toMatchObject({ queue: expect.any(Number), tune: expect.any(Number) });
  expect((seconds as { ingest: number }).ingest).toBeGreaterThan(0);
}, 300_000);
