/** The description of the API against what it answers: every call of it, and every refusal that a call can give. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { createKey } from '#shared/access.ts';
import { thumbnailKey } from '#shared/keys.ts';
import { images } from '#shared/schema.ts';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../../support/bucket.ts';
import { insertImage, insertModel, insertRun } from '../../support/rows.ts';
import { type Asked, type Created, createTestStudio, type TestStudio } from '../../support/studio.ts';

type Schema = Record<string, unknown>;
interface Operation {
  parameters?: { name: string; in: string }[];
  security?: unknown[];
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
}
interface Description {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema>; securitySchemes: Record<string, unknown> };
}

let aws: TestBucketAndQueues;
let studio: TestStudio;
let description: Description;
const seen = new Set<string>();

beforeAll(async () => {
  aws = await startTestBucketAndQueues();
  studio = await createTestStudio({
    ...aws.settings,
    WRONG_KEYS_PER_MINUTE: '5',
    PROJECTS_PER_HOUR: '5',
    CLASSES_PER_PROJECT: '4',
  });
  description = (await (await studio.ask('GET', '/api/openapi.json')).json()) as Description;
});
afterAll(async () => {
  await studio?.close();
  await aws?.close();
});

/** With each reference in the place of what it refers to: none refers to itself. */
function resolved(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(resolved);
  if (typeof value !== 'object' || value === null) return value;
  const name = /^#\/components\/schemas\/(\w+)$/.exec(String((value as { $ref?: string }).$ref))?.[1];
  if (!name) return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolved(one)]));
  expect(description.components.schemas).toHaveProperty(name);
  return resolved(description.components.schemas[name]);
}

function find(method: string, path: string): [string, Operation] {
  for (const [form, operations] of Object.entries(description.paths)) {
    const pattern = new RegExp(`^${form.replaceAll(/\{\w+\}/g, '[^/]+')}$`);
    const operation = operations[method.toLowerCase()];
    if (operation && pattern.test(path.split('?')[0]!)) return [`${method} ${form}`, operation];
  }
  throw new Error(`${method} ${path} is not described.`);
}

/** The answer to a call, once it is found to be as described. */
async function call<T = never>(method: string, path: string, status: number, asked: Asked = {}): Promise<T> {
  const answer = await studio.ask(method, path, asked);
  const text = await answer.text();
  expect([method, path, answer.status, status === answer.status || text]).toEqual([method, path, status, true]);
  const [name, operation] = find(method, path);
  seen.add(`${name} ${status}`);
  const described = operation.responses[status];
  if (!described) throw new Error(`${name} answers ${status}, which is not described.`);
  const type = answer.headers.get('Content-Type')?.split(';')[0];
  expect(Object.keys(described.content ?? {})).toEqual(type ? [type] : []);
  if (!type) return undefined as T;
  const body = JSON.parse(text);
  z.fromJSONSchema(resolved(described.content![type]!.schema) as never).parse(body);
  if (status >= 400) expect(body).toMatchObject({ type: 'about:blank', status, detail: expect.stringMatching(/\.$/) });
  return body as T;
}

/** A project with whatever can be in one. */
async function fill() {
  const project = await call<Created>('POST', '/api/projects', 201, {
    body: { name: 'Pets', classes: ['cat', 'dog'] },
  });
  const [cat, dog] = project.classes as [Created['classes'][0], Created['classes'][0]];
  const { db } = studio.postgres;
  const place = { projectId: project.id, classId: cat.id };
  const ready = await insertImage(db, { ...place, state: 'ready' });
  const pending = await insertImage(db, place);
  await insertImage(db, { ...place, state: 'rejected' });
  const reason = { code: 'not-an-image', params: {}, message: 'This is not a picture.' };
  await db.update(images).set({ reason }).where(sql`${images.state} = 'rejected'`);
  const report = { format: 1, classes: [], accuracy: {}, confusion: [[1]] } as never;
  const runId = await insertRun(db, project.id, 'succeeded', { report });
  const model = await insertModel(studio.postgres, project.id, { 'labels.txt': Buffer.from('cat\n') }, { runId });
  await insertRun(db, project.id, 'failed', { error: { code: 'failed', params: {}, message: 'No.' } });
  return { ...project, path: `/api/projects/${project.id}`, cat, dog, ready, pending, runId, model };
}

test('every call answers as it is described', async () => {
  const { key, path, cat, dog, ready, pending, runId, model } = await fill();
  const file = { name: 'a.jpg', type: 'image/jpeg', bytes: 3 };
  await call('GET', '/api/projects', 200);
  await call('PATCH', path, 200, { key, body: { name: 'Animals' } });
  const { id: bird } = await call<{ id: string }>('POST', `${path}/classes`, 201, { key, body: { name: 'bird' } });
  await call('PATCH', `${path}/classes/${bird}`, 200, { key, body: { name: 'owl' } });
  await call('DELETE', `${path}/classes/${bird}`, 204, { key });
  await call('POST', `${path}/classes/${cat.id}/uploads`, 201, { key, body: { files: [file] } });
  await call('POST', `${path}/images/${pending.id}/upload`, 200, { key });
  expect((await call<{ images: unknown[] }>('GET', `${path}/images`, 200, { key })).images).toHaveLength(4);
  await call('PATCH', `${path}/images/${ready.id}`, 200, { key, body: { classId: dog.id } });
  await call('DELETE', `${path}/images/${ready.id}`, 204, { key });
  await call('GET', `${path}/models`, 200, { key });
  await call('POST', `${path}/models/${model.id}/restore`, 200, { key });
  const { id: queued } = await call<{ id: string }>('POST', `${path}/runs`, 202, { key, body: { stage: 'head' } });
  await call('GET', `${path}/runs`, 200, { key });
  await call('GET', `${path}/runs/${runId}`, 200, { key });
  await call('DELETE', `${path}/runs/${queued}`, 200, { key });
  const full = await call<{ run: unknown; model: unknown }>('GET', path, 200, { key });
  expect(full).toMatchObject({ run: { id: queued }, model: { id: model.id } });
  const { key: next } = await call<{ key: string }>('POST', `${path}/key`, 201, { key });
  await call('DELETE', path, 204, { key: next });
  await call('DELETE', '/api/session', 204);
});

test('every refusal is as it is described', async () => {
  const { key, path, cat, dog, ready } = await fill();
  const nothing = crypto.randomUUID();
  const [name, files, tooLarge] = [
    { name: 'x' },
    [{ name: 'a', type: 'image/png', bytes: 1 }],
    'x'.repeat(2 ** 20 + 1),
  ];
  const Origin = 'https://evil.example';
  /** Each call below a project, with a body that it takes, if it takes one; and with what it says no to. */
  const calls: [method: string, below: string, body?: unknown, bad?: [number, unknown][]][] = [
    ['GET', ''],
    [
      'PATCH',
      '',
      name,
      [
        [400, {}],
        [422, { name: '' }],
      ],
    ],
    [
      'POST',
      '/classes',
      name,
      [
        [400, '{'],
        [409, { name: 'cat' }],
        [422, { name: 'a\nb' }],
      ],
    ],
    [
      'PATCH',
      `/classes/${dog.id}`,
      name,
      [
        [400, []],
        [409, { name: 'cat' }],
        [422, { name: '' }],
      ],
    ],
    ['DELETE', `/classes/${nothing}`],
    [
      'POST',
      `/classes/${cat.id}/uploads`,
      { files },
      [
        [400, { files: 1 }],
        [413, { files: [{ ...files[0], bytes: 1e9 }] }],
        [422, { files: [{ ...files[0], type: 'image/gif' }] }],
        [422, { files: [] }],
      ],
    ],
    ['POST', `/images/${ready.id}/upload`, undefined, [[409, undefined]]],
    ['GET', '/images'],
    [
      'PATCH',
      `/images/${ready.id}`,
      { classId: cat.id },
      [
        [400, {}],
        [404, { classId: nothing }],
      ],
    ],
    ['DELETE', `/images/${nothing}`],
    ['GET', '/models'],
    ['POST', `/models/${nothing}/restore`],
    [
      'POST',
      '/runs',
      {},
      [
        [400, { stage: 1 }],
        [422, { stage: 'dream' }],
        [422, { backbone: 'resnet' }],
      ],
    ],
    ['GET', '/runs'],
    ['GET', `/runs/${nothing}`],
    ['DELETE', `/runs/${nothing}`],
    ['POST', '/key'],
    ['DELETE', ''],
  ];
  let host = 0;
  for (const [method, below, body, bad = []] of calls) {
    for (const [status, wrong] of bad) {
      await call(method, path + below, status, { key, ...(wrong !== undefined && { body: wrong }) });
    }
    if (below.includes(nothing)) await call(method, path + below, 404, { key });
    const given = body === undefined ? {} : { body };
    await call(method, path + below, 401, given);
    const headers = { 'X-Forwarded-For': `192.0.2.${++host}` };
    for (let n = 0; n < 5; n++) await call(method, path + below, 404, { key: createKey().key, headers, ...given });
    await call(method, path + below, 429, { key: createKey().key, headers, ...given });
    if (method === 'GET') continue;
    await call(method, path + below, 403, { headers: { Origin }, ...given });
    await call(method, path + below, 413, { key, body: tooLarge });
  }
  await call('GET', `${path}/images?cursor=x`, 400, { key });
  for (const [status, body] of [
    [400, {}],
    [422, { name: '' }],
    [413, tooLarge],
  ] as const) {
    await call('POST', '/api/projects', status, { body });
  }
  await call('GET', '/api/backbones', 200);
  await call('DELETE', '/api/session', 403, { headers: { Origin } });
  await call('DELETE', '/api/session', 413, { body: tooLarge });
  await call('POST', '/api/projects', 403, { body: name, headers: { Origin } });
  const headers = { 'X-Forwarded-For': '192.0.2.200' };
  for (let n = 0; n < 5; n++) await call('POST', '/api/projects', 201, { body: name, headers });
  await call('POST', '/api/projects', 429, { body: name, headers });
});

test('there is nothing that is described and was not seen, and nothing served that is not described', () => {
  const described = Object.entries(description.paths).flatMap(([path, operations]) =>
    Object.entries(operations).flatMap(([method, { responses }]) =>
      Object.keys(responses).map((status) => `${method.toUpperCase()} ${path} ${status}`),
    ),
  );
  expect(described.filter((one) => !seen.has(one))).toEqual([]);
  const calls = new Set(described.map((one) => one.replace(/ \d+$/, '')));
  const served = studio.app.routes
    .filter(({ method, path }) => method !== 'ALL' && path.startsWith('/api/'))
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
  expect(new Set([...calls, 'GET /api/openapi.json'])).toEqual(new Set(served));
});

test('each call names its parameters, and who may make it', () => {
  const { securitySchemes } = description.components;
  expect(Object.keys(securitySchemes)).toEqual(['key', 'session']);
  for (const [path, operations] of Object.entries(description.paths)) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    for (const { parameters = [], security } of Object.values(operations)) {
      expect(parameters.filter((one) => one.in === 'path').map(({ name }) => name)).toEqual(inPath);
      // All calls to a project take what is said at the top: a key, or the session.
      expect(security === undefined).toBe(inPath.length > 0);
    }
  }
});

test('a thumbnail’s link loads it, and is the same when it is asked for again', async () => {
  const { id, key, classes } = await studio.create();
  const { id: imageId } = await insertImage(studio.postgres.db, {
    projectId: id,
    classId: classes[0]!.id,
    state: 'ready',
  });
  await aws.bucket.put(thumbnailKey(id, imageId), new Uint8Array([1, 2, 3]), 'image/webp');
  const link = async () => {
    const page = await call<{ images: { thumbnailUrl: string }[] }>('GET', `/api/projects/${id}/images`, 200, { key });
    return page.images[0]!.thumbnailUrl;
  };
  const again = async () => {
    const one = await link();
    await new Promise((resolve) => setTimeout(resolve, 1100));
    return [one, await link()];
  };
  let [first, second] = await again();
  // Only where a tenth of its time ended just then, which does not happen twice in a row.
  if (first !== second) [first, second] = await again();
  expect(second).toBe(first);
  const loaded = await fetch(first!);
  expect([loaded.status, loaded.headers.get('Content-Type')]).toEqual([200, 'image/webp']);
  expect(new Uint8Array(await loaded.arrayBuffer())).toEqual(new Uint8Array([1, 2, 3]));
  const other = new URL(first!);
  other.pathname = other.pathname.replace(imageId, crypto.randomUUID());
  expect((await fetch(other)).status).toBe(403);
});
