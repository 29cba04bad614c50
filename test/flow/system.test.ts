/** The whole way, on the programs that the cluster runs: pictures in, a model out, files that others load. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as ort from 'onnxruntime-node';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startLocal } from '../../infra/local/start.ts';
import { createLearner, type File, type Learner } from '../support/learner.ts';
import { draw, type Kind, kinds } from '../support/pictures.ts';

const file = async (kind: Kind, seed: number): Promise<File> => ({
  name: `${kind} ${seed}.jpg`,
  type: 'image/jpeg',
  data: await draw(kind, seed),
});
const files = (kind: Kind, from: number, to: number) =>
  Promise.all(Array.from({ length: to - from }, (_, index) => file(kind, from + index)));

let data: string;
let system: Awaited<ReturnType<typeof startLocal>>;
const start = () => startLocal({ data, port: 0 });

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'ai-teacher-flow-'));
  system = await start();
});
afterAll(async () => {
  await system?.stop();
  await rm(data, { recursive: true, force: true });
});

describe('from pictures to a model', () => {
  let learner: Learner;

  test('two classes of pictures become a model by themselves, right about others', async () => {
    learner = await createLearner(system.studioUrl, 'Stripes and dots', ['stripes', 'dots']);
    expect((await learner.project()).status).toBe('collecting');
    for (const kind of kinds) await learner.upload(kind, await files(kind, 0, 20));
    const { model, run } = await learner.until(({ status }) => status === 'ready');
    expect(model!.classes).toEqual(['stripes', 'dots']);
    expect(model!.accuracy).toBeGreaterThan(0.9);
    expect(run!.state).toBe('succeeded');
    for (const kind of kinds) {
      for (let seed = 100; seed < 110; seed++) {
        expect(await learner.predict(model!, await draw(kind, seed))).toMatchObject({ label: kind });
      }
    }
  });

  test('more pictures make a newer model; only those are embedded', async () => {
    const before = await learner.project();
    await learner.upload('dots', await files('dots', 20, 25));
    const after = await learner.until(({ model, status }) => status === 'ready' && model!.id !== before.model!.id);
    expect(after.revision).toBeGreaterThan(before.revision);
    expect(after.classes.map(({ images }) => images.ready)).toEqual([20, 25]);
  });

  test('bad pictures are rejected with their reason, the others train', async () => {
    const before = await learner.project();
    const good = await draw('dots', 30);
    const huge = await sharp({
      create: { width: 20_000, height: 20_000, channels: 3, background: 'white' },
      limitInputPixels: false,
    })
      .png({ compressionLevel: 9 })
      .toBuffer();
    const jpeg = 'image/jpeg';
    const bad: [File, string][] = [
      [{ name: 'text.jpg', type: jpeg, data: Buffer.from('no picture at all') }, 'not-an-image'],
      [{ name: 'nothing.jpg', type: jpeg, data: Buffer.alloc(0) }, 'empty'],
      [{ name: 'half.jpg', type: jpeg, data: good.subarray(0, good.length / 2) }, 'damaged'],
      [{ name: 'huge.png', type: 'image/png', data: huge }, 'too-many-pixels'],
    ];
    await learner.upload('dots', [...bad.map(([one]) => one), { name: 'good.jpg', type: jpeg, data: good }]);
    await learner.until(({ status, model }) => status === 'ready' && model!.id !== before.model!.id);
    const { images } = await learner.images('?state=rejected');
    const reasons = new Map(images.map(({ name, reason }) => [name, reason!.code]));
    expect(reasons).toEqual(new Map(bad.map(([{ name }, code]) => [name, code])));
    for (const { reason } of images) expect(reason!.message).toMatch(/\w.*[.!]$/);
  });

  test('model.pt loads in a Python that has torch and nothing of ours', async () => {
    const { model } = await learner.project();
    const path = join(data, 'model.pt');
    await writeFile(path, await learner.download(model!, 'model.pt'));
    const program = `
import torch, json, sys
model = torch.load(sys.argv[1], weights_only=True)
weight = model["state_dict"]["head.weight"]
print(json.dumps([sorted(model), model["classes"], list(weight.shape), model["features"]["softsign"]]))
`;
    // Not waited for in a way that stops this process: connections that servers end meanwhile would look alive to it.
    const { stdout } = await promisify(execFile)(join(process.cwd(), '.venv/bin/python'), ['-c', program, path], {
      cwd: data,
    });
    expect(JSON.parse(stdout)).toEqual([
      ['backbone', 'classes', 'features', 'format', 'preprocessing', 'state_dict'],
      ['stripes', 'dots'],
      [2, 2688],
      0.5,
    ]);
  });

  test('model.onnx says from raw pixels what predict says', async () => {
    const { model } = await learner.project();
    const session = await ort.InferenceSession.create(await learner.download(model!, 'model.onnx'));
    const picture = await draw('stripes', 200, { width: 401, height: 299, type: 'png' });
    const { data: pixels, info } = await sharp(picture).raw().toBuffer({ resolveWithObject: true });
    const input = new ort.Tensor('uint8', new Uint8Array(pixels), [1, info.height, info.width, 3]);
    const output = Object.values(await session.run({ [session.inputNames[0]!]: input }))[0]!;
    const { scores } = await learner.predict(model!, picture);
    const said = model!.classes.map((name) => scores.find((score) => score.class === name)!.probability);
    Array.from(output.data as Float32Array).forEach((probability, index) => {
      expect(probability).toBeCloseTo(said[index]!, 3);
    });
  });

  test('the trainer says by how much each format differs, on the learner’s own pictures', async () => {
    const { model } = await learner.project();
    const report = JSON.parse((await learner.download(model!, 'report.json')).toString());
    for (const name of ['model.pt', 'model.onnx']) {
      expect(report.certificate.formats[name].maxDifference).toBeLessThan(1e-3);
    }
    expect(report.certificate.images).toBeGreaterThan(0);
    expect((await learner.download(model!, 'labels.txt')).toString()).toBe('stripes\ndots\n');
  });

  test('stopping and starting all of it loses nothing', async () => {
    const before = await learner.project();
    await system.stop();
    system = await start();
    const headers = { Authorization: `Bearer ${learner.key}` };
    const after = await (await fetch(`${system.studioUrl}/api/projects/${learner.id}`, { headers })).json();
    expect(after.revision).toBe(before.revision);
    expect(after.model.id).toBe(before.model!.id);
    expect(after.classes).toEqual(before.classes);
    const onnx = after.model.artifacts.find((artifact: { name: string }) => artifact.name === 'model.onnx');
    expect((await (await fetch(onnx.url)).arrayBuffer()).byteLength).toBe(onnx.bytes);
  });
});

test('a trainer that is killed in mid-training is followed by one that finishes', async () => {
  const learner = await createLearner(system.studioUrl, 'Killed', ['stripes', 'dots']);
  for (const kind of kinds) await learner.upload(kind, await files(kind, 40, 46));
  await learner.until(({ status }) => status === 'training');
  system.processes.trainer!.kill('SIGKILL');
  const { model } = await learner.until(({ status }) => status === 'ready', 90);
  expect(model!.classes).toEqual(['stripes', 'dots']);
  const { models } = await learner.call<{ models: unknown[] }>('GET', '/models');
  expect(models).toHaveLength(1);
});
