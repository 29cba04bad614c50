import { createHash, randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { eq } from 'drizzle-orm';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createKey, hashKey, signPath } from '#shared/access.ts';
import { chunkBytes } from '#shared/artifacts.ts';
import { projects } from '#shared/schema.ts';
import { serve } from '#shared/serve.ts';
import { createExport } from '../../../functions/export/app.ts';
import { freePort } from '../../support/ports.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';
import { insertModel, insertProject } from '../../support/rows.ts';

const secret = 's'.repeat(32);
const settings = { SIGNING_SECRET: secret, TRUSTED_PROXIES: 0, WRONG_KEYS_PER_MINUTE: 1000 };
const data = randomBytes(3 * chunkBytes + 123);
const sha256 = createHash('sha256').update(data).digest('hex');

let postgres: TestDatabase;
let app: ReturnType<typeof createExport>;
let project: Awaited<ReturnType<typeof insertProject>>;
let modelId: string;
let url: string;
const stop = new AbortController();
let stopped: Promise<void>;

beforeAll(async () => {
  postgres = await createTestDatabase();
  project = await insertProject(postgres.db, '고양이 "분류"');
  const files = { 'model.pt': data, 'labels.txt': Buffer.from('cat\ndog\n'), 'report.json': Buffer.from('{}') };
  modelId = (await insertModel(postgres, project.id, files)).id;
  const log = pino({ level: 'silent' });
  app = createExport({ db: postgres.db, settings, log });
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  stopped = serve(app, { port, drainSeconds: 1, stopping: stop.signal, log });
});

afterAll(async () => {
  stop.abort();
  await stopped;
  await postgres.close();
});

const get = (name: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`${url}/models/${modelId}/${name}`, {
    method,
    headers: { Authorization: `Bearer ${project.key}`, ...headers },
  });

test('all of it: exact bytes, and every header that a download needs', async () => {
  const response = await get('model.pt');
  expect(response.status).toBe(200);
  expect(Buffer.from(await response.arrayBuffer()).equals(data)).toBe(true);
  const { headers } = response;
  expect(headers.get('ETag')).toBe(`"${sha256}"`);
  expect(headers.get('Content-Length')).toBe(String(data.length));
  expect(headers.get('Content-Type')).toBe('application/octet-stream');
  expect(headers.get('Cache-Control')).toBe('private, max-age=31536000, immutable');
  expect(headers.get('Accept-Ranges')).toBe('bytes');
  expect(decodeURIComponent(headers.get('Content-Disposition')!.split("filename*=UTF-8''")[1]!)).toBe(
    '고양이 분류-model.pt',
  );
});

test('HEAD says the same and reads no chunk', async () => {
  const { id } = await insertModel(postgres, project.id, { 'model.pt': data });
  await postgres.sql`delete from chunks where model_id = ${id}`;
  const response = await fetch(`${url}/models/${id}/model.pt`, {
    method: 'HEAD',
    headers: { Authorization: `Bearer ${project.key}`, Range: 'bytes=0-1' },
  });
  expect(response.status).toBe(200);
  expect(response.headers.get('Content-Length')).toBe(String(data.length));
  expect(response.headers.get('ETag')).toBe(`"${sha256}"`);
});

test('ranges within and over chunks, at the end, and by suffix give their bytes', async () => {
  const size = data.length;
  const ranges: [string, number, number][] = [
    ['bytes=0-0', 0, 1],
    [`bytes=10-${chunkBytes + 10}`, 10, chunkBytes + 11],
    [`bytes=${chunkBytes}-${2 * chunkBytes - 1}`, chunkBytes, 2 * chunkBytes],
    [`bytes=${size - 5}-`, size - 5, size],
    ['bytes=-200', size - 200, size],
    [`bytes=0-${size * 2}`, 0, size],
  ];
  for (const [range, start, end] of ranges) {
    const response = await get('model.pt', { Range: range });
    expect(response.status, range).toBe(206);
    expect(response.headers.get('Content-Range')).toBe(`bytes ${start}-${end - 1}/${size}`);
    expect(response.headers.get('Content-Length')).toBe(String(end - start));
    expect(Buffer.from(await response.arrayBuffer()).equals(data.subarray(start, end)), range).toBe(true);
  }
});

test('beyond the end: 416 with the size; several ranges at once: all of it', async () => {
  const beyond = await get('model.pt', { Range: `bytes=${data.length}-` });
  expect(beyond.status).toBe(416);
  expect(beyond.headers.get('Content-Range')).toBe(`bytes */${data.length}`);
  expect((await get('labels.txt', { Range: 'bytes=0-0,2-2' })).status).toBe(200);
});

test('a download that was cut off goes on, but not with another file', async () => {
  const rest = await get('labels.txt', {
    Range: 'bytes=4-',
    'If-Range': (await get('labels.txt')).headers.get('ETag')!,
  });
  expect([rest.status, await rest.text()]).toEqual([206, 'dog\n']);
  const other = await get('labels.txt', { Range: 'bytes=4-', 'If-Range': '"other"' });
  expect([other.status, await other.text()]).toEqual([200, 'cat\ndog\n']);
});

test('what the client has is not sent again', async () => {
  const response = await get('model.pt', { 'If-None-Match': `"other", "${sha256}"`, Range: 'bytes=0-1' });
  expect(response.status).toBe(304);
  expect(response.headers.get('ETag')).toBe(`"${sha256}"`);
  expect(await response.text()).toBe('');
});

test('any page may read it, without credentials, and the headers it needs', async () => {
  const preflight = await fetch(`${url}/models/${modelId}/model.pt`, {
    method: 'OPTIONS',
    headers: {
      Origin: 'https://school.example',
      'Access-Control-Request-Method': 'GET',
      'Access-Control-Request-Headers': 'authorization,range',
    },
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get('Access-Control-Allow-Headers')).toMatch(/authorization.*range/i);
  for (const response of [preflight, await get('labels.txt'), await get('labels.txt', { Authorization: '' })]) {
    expect(response.headers.get('Access-Control-Allow-Origin')).toBe('*');
    expect(response.headers.get('Access-Control-Allow-Credentials')).toBeNull();
  }
  const exposed = (await get('labels.txt')).headers.get('Access-Control-Expose-Headers')!.split(/, ?/);
  expect(exposed).toEqual(['ETag', 'Content-Range', 'Content-Disposition']);
});

const signer = (key: string) => ({ secret, keyHash: hashKey(key) });
const status = async (path: string, headers: Record<string, string> = {}) => {
  const response = await fetch(`${url}${path}`, { headers });
  if (!response.ok) expect(response.headers.get('Content-Type')).toBe('application/problem+json');
  await response.arrayBuffer();
  return response.status;
};

test('the owner’s key or a signed link opens it; nothing else does', async () => {
  const path = `/models/${modelId}/labels.txt`;
  const other = await insertProject(postgres.db);
  expect(await status(path)).toBe(401);
  expect(await status(path, { Cookie: `session=${project.key}; key=${project.key}` })).toBe(401);
  expect(await status(path, { Authorization: `Basic ${project.key}` })).toBe(401);
  expect(await status(path, { Authorization: `Bearer ${other.key}` })).toBe(404);
  expect(await status(path, { Authorization: 'Bearer made-up' })).toBe(404);
  expect(await status(signPath(signer(project.key), path, 60))).toBe(200);
  expect(await status(signPath(signer(project.key), path, 60), { Authorization: `Bearer ${other.key}` })).toBe(200);
  expect(await status(signPath({ ...signer(project.key), secret: 'x'.repeat(32) }, path, 60))).toBe(401);
  expect(await status(signPath(signer(project.key), path, 10, Date.now() - 60_000))).toBe(401);
  const signed = signPath(signer(project.key), path, 60);
  expect(await status(signed.replace('labels.txt', 'model.pt'))).toBe(401);
  expect(await status(signed.replace(/expires=\d+/, `expires=${2 ** 40}`))).toBe(401);
});

test('a new key ends the one before, and the links that went with it', async () => {
  const own = await insertProject(postgres.db);
  const { id } = await insertModel(postgres, own.id, { 'labels.txt': Buffer.from('a') });
  const path = `/models/${id}/labels.txt`;
  const link = signPath(signer(own.key), path, 60);
  const next = createKey();
  expect([await status(link), await status(path, { Authorization: `Bearer ${own.key}` })]).toEqual([200, 200]);
  await postgres.db.update(projects).set({ keyHash: next.hash }).where(eq(projects.id, own.id));
  expect([await status(link), await status(path, { Authorization: `Bearer ${own.key}` })]).toEqual([401, 404]);
  expect(await status(signPath(signer(next.key), path, 60))).toBe(200);
  expect(await status(path, { Authorization: `Bearer ${next.key}` })).toBe(200);
});

test('what is not there: 422 for an artifact that this model lacks, 404 for any other name, for no model and for one not published', async () => {
  const headers = { Authorization: `Bearer ${project.key}` };
  for (const name of ['model.pt2', 'model.onnx']) {
    expect(await status(`/models/${modelId}/${name}`, headers), name).toBe(422);
  }
  expect(await status(`/models/${modelId}/passwords.txt`, headers)).toBe(404);
  expect(await status(`/models/${modelId}/..%2fmodel.pt`, headers)).toBe(404);
  expect(await status('/models/not-a-model/model.pt', headers)).toBe(404);
  expect(await status(`/models/${project.id}/model.pt`, headers)).toBe(404);
  const hidden = await insertModel(postgres, project.id, { 'model.pt': data }, { published: false });
  expect(await status(`/models/${hidden.id}/model.pt`, headers)).toBe(404);
});

test('a deleted project’s model is gone, for its key and for its links', async () => {
  const gone = await insertProject(postgres.db);
  const { id } = await insertModel(postgres, gone.id, { 'labels.txt': Buffer.from('a') });
  const path = `/models/${id}/labels.txt`;
  expect(await status(path, { Authorization: `Bearer ${gone.key}` })).toBe(200);
  await postgres.sql`update projects set deleted_at = now() where id = ${gone.id}`;
  expect(await status(path, { Authorization: `Bearer ${gone.key}` })).toBe(404);
  expect(await status(signPath(signer(gone.key), path, 60))).toBe(404);
});

test('using a model keeps its project from expiring, at one write a day', async () => {
  const usedAt = async () => (await postgres.db.select().from(projects).where(eq(projects.id, project.id)))[0]!.usedAt;
  await postgres.sql`update projects set used_at = now() - interval '2 days' where id = ${project.id}`;
  await get('labels.txt');
  const first = await usedAt();
  expect(Date.now() - first.getTime()).toBeLessThan(60_000);
  await get('labels.txt');
  expect(await usedAt()).toEqual(first);
});

/** Every byte that came before the connection ended, and whether it ended in order. */
function download(path: string): Promise<{ status: number; body: Buffer; complete: boolean }> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(`${url}${path}`, { headers: { Authorization: `Bearer ${project.key}` } }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', () => {});
      response.on('close', () =>
        resolve({ status: response.statusCode!, body: Buffer.concat(parts), complete: response.complete }),
      );
    });
    sent.on('error', reject);
    sent.end();
  });
}

test('a tampered chunk: never served; the first one gives 500, a later one ends the connection', async () => {
  for (const index of [0, 1, 3]) {
    const { id } = await insertModel(postgres, project.id, { 'model.pt': data });
    await postgres.sql`update chunks set data = set_byte(data, 7, get_byte(data, 7) # 1) where model_id = ${id} and index = ${index}`;
    const { status, body, complete } = await download(`/models/${id}/model.pt`);
    if (index === 0) {
      expect(status).toBe(500);
      expect(JSON.parse(body.toString())).toMatchObject({ code: 'internal' });
    } else if (status !== 500) {
      // Otherwise it was found before the first byte had left.
      expect(complete).toBe(false);
      expect(body.length).toBeLessThanOrEqual(index * chunkBytes);
      expect(body.equals(data.subarray(0, body.length))).toBe(true);
    }
  }
});

test('chunks that are whole but not in their places are found before the last byte', async () => {
  const { id } = await insertModel(postgres, project.id, { 'model.pt': data });
  await postgres.sql`update chunks set index = case index when 1 then 102 else 101 end where model_id = ${id} and index in (1, 2)`;
  await postgres.sql`update chunks set index = index - 100 where model_id = ${id} and index > 100`;
  const { body, complete } = await download(`/models/${id}/model.pt`);
  expect(complete).toBe(false);
  expect(body.length).toBeLessThan(data.length);
});

test('clients that do not drink hold no connection to Postgres', async () => {
  const stalled = Array.from({ length: 8 }, () => {
    const sent = httpRequest(`${url}/models/${modelId}/model.pt`, {
      headers: { Authorization: `Bearer ${project.key}` },
    });
    sent.on('error', () => {});
    const answered = new Promise<void>((resolve) => sent.on('response', (response) => resolve(void response.pause())));
    sent.end();
    return { answered, end: () => sent.destroy() };
  });
  await Promise.all(stalled.map(({ answered }) => answered));
  expect((await get('labels.txt')).status).toBe(200);
  const { body } = await download(`/models/${modelId}/model.pt`);
  expect(createHash('sha256').update(body).digest('hex')).toBe(sha256);
  for (const { end } of stalled) end();
});

test('healthz: 200 with Postgres, 503 without', async () => {
  expect(await status('/healthz')).toBe(200);
  const { connect } = await import('#shared/database.ts');
  const nowhere = connect(`postgres://postgres@127.0.0.1:${await freePort()}/none`);
  const dead = createExport({ db: nowhere.db, settings, log: pino({ level: 'silent' }) });
  expect((await dead.request('/healthz')).status).toBe(503);
  await nowhere.close();
});
