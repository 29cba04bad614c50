import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hashKey, signPath } from '#shared/access.ts';
import { serve } from '#shared/serve.ts';
import { createPredict } from '../../../functions/predict/app.ts';
import { createCache } from '../../../functions/predict/cache.ts';
import type { Classifier } from '../../../functions/predict/classifier.ts';
import { forgetDeleted } from '../../../functions/predict/forget.ts';
import { hugePng, svg } from '../../support/files.ts';
import { freePort } from '../../support/ports.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';
import { runPython } from '../../support/python.ts';
import { insertModel, insertProject } from '../../support/rows.ts';

const settings = {
  SIGNING_SECRET: 's'.repeat(32),
  TRUSTED_PROXIES: 0,
  WRONG_KEYS_PER_MINUTE: 1000,
  IMAGE_BYTES: 200_000,
  IMAGE_PIXELS: 1_000_000,
};
const log = pino({ level: 'silent' });
/** Of red, green and blue, a row a class: the model says which colour there is most of. */
const weights = [
  [4, 0, 0],
  [0, 4, 0],
  [0, 0, 4],
];
const classNames = ['빨강', 'green', 'blue'];

let postgres: TestDatabase;
let project: Awaited<ReturnType<typeof insertProject>>;
let onnx: Buffer;
let modelId: string;
let url: string;
const classifiers = createCache<Classifier>(2, ({ release }) => release());
const stop = new AbortController();
let stopped: Promise<void>;

const newModel = async (
  projectId: string,
  { unknownBelow = 0.5 as number | null, published = true, model = onnx } = {},
) =>
  (
    await insertModel(
      postgres,
      projectId,
      { 'model.onnx': model, 'report.json': Buffer.from(JSON.stringify({ format: 1, unknownBelow })) },
      { classNames, published },
    )
  ).id;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ai-teacher-onnx-'));
  const path = join(folder, 'model.onnx');
  [postgres] = await Promise.all([createTestDatabase(), runPython('mean_colour.py', [path, JSON.stringify(weights)])]);
  onnx = await readFile(path);
  await rm(folder, { recursive: true });
  project = await insertProject(postgres.db);
  modelId = await newModel(project.id);
  const app = createPredict({ db: postgres.db, settings, classifiers, log });
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  stopped = serve(app, { port, drainSeconds: 1, stopping: stop.signal, log });
});

afterAll(async () => {
  stop.abort();
  await stopped;
  await classifiers.close();
  await postgres.close();
});

const plain = (red: number, green: number, blue: number, width = 40, height = 30) =>
  sharp({ create: { width, height, channels: 3, background: { r: red, g: green, b: blue } } });

function softmax(colour: number[]): number[] {
  const powers = weights.map((row) => Math.exp(row.reduce((sum, weight, at) => sum + (weight * colour[at]!) / 255, 0)));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

const send = (body: BodyInit, { id = modelId, headers = {} as Record<string, string> } = {}) =>
  fetch(`${url}/models/${id}/predict`, {
    method: 'POST',
    body,
    headers: { Authorization: `Bearer ${project.key}`, ...headers },
  });

interface Answer {
  modelId: string;
  label: string;
  confidence: number;
  unknown: boolean;
  scores: { class: string; probability: number }[];
}

test('the numbers of the model, falling, with names, from JPEG, PNG and WebP', async () => {
  const colour = [40, 250, 90];
  const expected = softmax(colour);
  const picture = plain(40, 250, 90);
  for (const file of await Promise.all(
    [picture.clone().jpeg({ quality: 100 }), picture.clone().png(), picture.clone().webp({ lossless: true })].map(
      (one) => one.toBuffer(),
    ),
  )) {
    const response = await send(file as BodyInit);
    expect(response.status).toBe(200);
    const answer = (await response.json()) as Answer;
    expect(Object.keys(answer)).toEqual(['modelId', 'label', 'confidence', 'unknown', 'scores']);
    expect(answer).toMatchObject({ modelId, label: 'green', unknown: false });
    expect(answer.scores.map((score) => score.class)).toEqual(['green', 'blue', '빨강']);
    const said = answer.scores.map(({ probability }) => probability);
    for (const [at, probability] of [expected[1]!, expected[2]!, expected[0]!].entries()) {
      expect(said[at]).toBeCloseTo(probability, 2);
    }
    expect(answer.confidence).toBe(said[0]);
  }
});

test('a form with the field image says the same as the body alone', async () => {
  const file = await plain(250, 30, 20).png().toBuffer();
  const form = new FormData();
  form.append('note', 'x');
  form.append('image', new Blob([file as BlobPart]), '사진.png');
  expect(await (await send(form)).json()).toEqual(await (await send(file as BodyInit)).json());
});

test('unknown when no class is sure enough, and never where the model knows no threshold', async () => {
  const grey = (await plain(128, 128, 128).png().toBuffer()) as BodyInit;
  expect(((await (await send(grey)).json()) as Answer).unknown).toBe(true);
  const bold = await newModel(project.id, { unknownBelow: null });
  expect(((await (await send(grey, { id: bold })).json()) as Answer).unknown).toBe(false);
});

const problemOf = async (response: Response) => {
  expect(response.headers.get('Content-Type')).toBe('application/problem+json');
  const { status, code } = (await response.json()) as { status: number; code: string };
  expect(status).toBe(response.status);
  return [status, code];
};

test('what is no picture of ours: 422 that says so, and the connection goes on', async () => {
  const cut = (await plain(9, 9, 9, 300, 300).png({ compressionLevel: 0 }).toBuffer()).subarray(0, 150_000);
  expect(await problemOf(await send(''))).toEqual([422, 'empty']);
  expect(await problemOf(await send('{"image": 1}', { headers: { 'Content-Type': 'application/json' } }))).toEqual([
    422,
    'not-an-image',
  ]);
  expect(await problemOf(await send(svg as BodyInit, { headers: { 'Content-Type': 'image/png' } }))).toEqual([
    422,
    'not-an-image',
  ]);
  expect(await problemOf(await send(hugePng(64_250, 64_250) as BodyInit))).toEqual([422, 'too-many-pixels']);
  expect(await problemOf(await send(cut as BodyInit))).toEqual([422, 'damaged']);
});

test('a broken form, or one without a picture: 400', async () => {
  const headers = { 'Content-Type': 'multipart/form-data; boundary=x' };
  expect(await problemOf(await send('--x\r\nnonsense', { headers }))).toEqual([400, 'malformed-form']);
  const form = new FormData();
  form.append('image', 'a name');
  expect(await problemOf(await send(form))).toEqual([400, 'no-image-field']);
});

test('too large: 413, by its announced length, by its body alone, and within a form', async () => {
  const large = new Uint8Array(settings.IMAGE_BYTES + 1);
  expect(await problemOf(await send(large))).toEqual([413, 'too-large']);
  expect(await problemOf(await send(new Uint8Array(2_000_000)))).toEqual([413, 'too-large']);
  const stream = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(50_000)),
  });
  const init = { method: 'POST', body: stream, duplex: 'half', headers: { Authorization: `Bearer ${project.key}` } };
  const streamed = await fetch(`${url}/models/${modelId}/predict`, init as RequestInit).then(
    ({ status }) => status,
    () => 413, // The server may close before the client has read its answer: it does not take more in any case.
  );
  expect(streamed).toBe(413);
  const form = new FormData();
  form.append('image', new Blob([large]));
  expect(await problemOf(await send(form))).toEqual([413, 'too-large']);
});

test('the owner’s key or a signed link; nothing else; each time anew', async () => {
  const file = (await plain(1, 2, 3).png().toBuffer()) as BodyInit;
  const other = await insertProject(postgres.db);
  const path = `/models/${modelId}/predict`;
  const post = async (to: string, headers: Record<string, string> = {}) =>
    (await fetch(`${url}${to}`, { method: 'POST', body: file, headers })).status;
  expect(await post(path)).toBe(401);
  expect(await post(path, { Cookie: `session=${project.key}` })).toBe(401);
  expect(await post(path, { Authorization: `Bearer ${other.key}` })).toBe(404);
  const signer = { secret: settings.SIGNING_SECRET, keyHash: hashKey(project.key) };
  expect(await post(signPath(signer, path, 60))).toBe(200);
  const ofAnother = signPath(signer, path.replace('predict', 'model.pt'), 60).replace('model.pt', 'predict');
  expect(await post(ofAnother)).toBe(401);
  const hidden = await newModel(project.id, { published: false });
  expect(await post(`/models/${hidden}/predict`, { Authorization: `Bearer ${project.key}` })).toBe(404);
});

test('a deleted project’s model answers no more, and leaves memory', async () => {
  const file = (await plain(1, 2, 3).png().toBuffer()) as BodyInit;
  const gone = await insertProject(postgres.db);
  const id = await newModel(gone.id);
  const headers = { Authorization: `Bearer ${gone.key}` };
  expect((await send(file, { id, headers })).status).toBe(200);
  expect(classifiers.keys()).toContain(id);
  await postgres.sql`update projects set deleted_at = now() where id = ${gone.id}`;
  expect(await problemOf(await send(file, { id, headers }))).toEqual([404, 'no-such-model']);
  await send(file);
  await forgetDeleted(postgres.db, classifiers);
  expect(classifiers.keys()).not.toContain(id);
  expect(classifiers.keys()).toContain(modelId);
});

test('more models than are kept, asked all at once: every answer is its own model’s', async () => {
  const files = await Promise.all(
    [plain(255, 0, 0), plain(0, 255, 0), plain(0, 0, 255)].map((one) => one.png().toBuffer()),
  );
  const ids = await Promise.all(files.map(() => newModel(project.id)));
  const asked = Array.from({ length: 24 }, (_, at) => at);
  const labels = await Promise.all(
    asked.map(async (at) => {
      const answer = (await (await send(files[at % 3] as BodyInit, { id: ids[(at * 5) % 3]! })).json()) as Answer;
      expect(answer.modelId).toBe(ids[(at * 5) % 3]);
      return answer.label;
    }),
  );
  expect(labels).toEqual(asked.map((at) => classNames[at % 3]));
  expect(classifiers.keys().length).toBeLessThanOrEqual(2);
});

test('a tampered model is not run', async () => {
  const id = await newModel(project.id);
  await postgres.sql`update chunks set data = set_byte(data, 30, get_byte(data, 30) # 1) where model_id = ${id} and name = 'model.onnx'`;
  const file = (await plain(1, 2, 3).png().toBuffer()) as BodyInit;
  expect(await problemOf(await send(file, { id }))).toEqual([500, 'internal']);
});

test('any page may ask, without credentials', async () => {
  const preflight = await fetch(`${url}/models/${modelId}/predict`, {
    method: 'OPTIONS',
    headers: {
      Origin: 'https://school.example',
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization,content-type',
    },
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get('Access-Control-Allow-Methods')).toContain('POST');
  for (const response of [preflight, await send(''), await send('', { headers: { Authorization: '' } })]) {
    expect(response.headers.get('Access-Control-Allow-Origin')).toBe('*');
    expect(response.headers.get('Access-Control-Allow-Credentials')).toBeNull();
  }
});
