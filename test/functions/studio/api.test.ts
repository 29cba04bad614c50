/** Every call of the studio and every refusal, on a real Postgres and the real S3 and SQS protocols. */
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createKey } from '#shared/access.ts';
import { uploadKey } from '#shared/keys.ts';
import { images, projects, runs, sessions } from '#shared/schema.ts';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../../support/bucket.ts';
import { insertImage, insertModel } from '../../support/rows.ts';
import { type Created, createTestStudio } from '../../support/studio.ts';

type TestStudio = Awaited<ReturnType<typeof createTestStudio>>;
let studio: TestStudio;
let postgres: TestStudio['postgres'];
let aws: TestBucketAndQueues;
let app: TestStudio['app'];
beforeAll(async () => {
  aws = await startTestBucketAndQueues();
  studio = await createTestStudio({ ...aws.settings, CLASSES_PER_PROJECT: '5', IMAGES_PER_PROJECT: '250' });
  ({ postgres, app } = studio);
});
afterAll(async () => {
  await studio?.close();
  await aws?.close();
});

const ask: TestStudio['ask'] = (...asked) => studio.ask(...asked);

let project: Created;
let path: string;
/** A call with the project's key: status and body. */
const call = async (method: string, below = '', body?: unknown): Promise<[number, never]> => {
  const answer = await ask(method, path + below, { key: project.key, ...(body !== undefined && { body }) });
  return [answer.status, (answer.status === 204 ? null : await answer.json()) as never];
};
const create = (): Promise<Created> => studio.create();
beforeEach(async () => {
  project = await create();
  path = `/api/projects/${project.id}`;
});
const revision = async () =>
  (await postgres.db.select().from(projects).where(eq(projects.id, project.id)))[0]!.revision;
const ready = (which = 0) =>
  insertImage(postgres.db, { projectId: project.id, classId: project.classes[which]!.id, state: 'ready' });

describe('access', () => {
  test('the key opens its own project; another’s is not found, and none is refused', async () => {
    expect((await ask('GET', path, { key: project.key })).status).toBe(200);
    const other = await create();
    expect((await ask('GET', path, { key: other.key })).status).toBe(404);
    expect((await ask('GET', path, { key: createKey().key })).status).toBe(404);
    const refused = await ask('GET', path);
    expect([refused.status, refused.headers.get('Content-Type')]).toEqual([401, 'application/problem+json']);
    expect((await ask('GET', '/api/projects/not-an-id', { key: project.key })).status).toBe(404);
  });

  test('a browser gets a session that holds its projects, in a cookie that scripts cannot read', async () => {
    const first = await ask('POST', '/api/projects', { body: { name: 'A' } });
    const cookie = first.headers.get('Set-Cookie')!;
    expect(cookie).toMatch(/^session=[\w-]{43};.*HttpOnly.*SameSite=Lax/);
    const headers = { Cookie: cookie.split(';')[0]! };
    const second = await ask('POST', '/api/projects', { body: { name: 'B' }, headers });
    expect(second.headers.get('Set-Cookie')).toBeNull();
    const { projects: own } = (await (await ask('GET', '/api/projects', { headers })).json()) as never as {
      projects: { name: string }[];
    };
    expect(own.map(({ name }) => name)).toEqual(['B', 'A']);
    expect(await (await ask('GET', '/api/projects')).json()).toEqual({ projects: [] });
    const stored = await postgres.db.select().from(sessions);
    expect(JSON.stringify(stored)).not.toContain(headers.Cookie.slice('session='.length));
  });

  test('another site cannot act in a learner’s name', async () => {
    const made = await ask('POST', '/api/projects', { body: { name: 'A' } });
    const Cookie = made.headers.get('Set-Cookie')!.split(';')[0]!;
    const { id } = (await made.json()) as Created;
    const foreign = await ask('DELETE', `/api/projects/${id}`, { headers: { Cookie, Origin: 'https://evil.example' } });
    expect(foreign.status).toBe(403);
    const own = await ask('DELETE', `/api/projects/${id}`, { headers: { Cookie, Origin: 'http://localhost:8080' } });
    expect(own.status).toBe(204);
  });

  test('a session that is ended opens nothing any more, in whatever browser its cookie is', async () => {
    const made = await ask('POST', '/api/projects', { body: { name: 'A' } });
    const headers = { Cookie: made.headers.get('Set-Cookie')!.split(';')[0]! };
    const { id, key } = (await made.json()) as Created;
    const other = await ask('POST', '/api/projects', { body: { name: 'B' } });
    const foreign = { ...headers, Origin: 'https://evil.example' };
    expect((await ask('DELETE', '/api/session', { headers: foreign })).status).toBe(403);
    const ended = await ask('DELETE', '/api/session', { headers });
    expect([ended.status, ended.headers.get('Set-Cookie')]).toEqual([
      204,
      expect.stringMatching(/^session=;.*Max-Age=0;.*Path=\/.*HttpOnly/),
    ]);
    expect((await ask('GET', `/api/projects/${id}`, { headers })).status).toBe(401);
    expect(await (await ask('GET', '/api/projects', { headers })).json()).toEqual({ projects: [] });
    expect((await ask('GET', `/api/projects/${id}`, { key })).status).toBe(200);
    const others = { Cookie: other.headers.get('Set-Cookie')!.split(';')[0]! };
    expect(
      (await ask('GET', `/api/projects/${((await other.json()) as Created).id}`, { headers: others })).status,
    ).toBe(200);
    expect((await ask('DELETE', '/api/session')).status).toBe(204);
  });

  test('a new key ends the one before, for a browser or for who has that', async () => {
    const made = await ask('POST', '/api/projects', { body: { name: 'A' } });
    const headers = { Cookie: made.headers.get('Set-Cookie')!.split(';')[0]! };
    const { id, key } = (await made.json()) as Created;
    const renew = async (asked: Parameters<typeof ask>[2]) => {
      const answer = await ask('POST', `/api/projects/${id}/key`, asked);
      expect(answer.status).toBe(201);
      return ((await answer.json()) as { key: string }).key;
    };
    const opens = async (one: string) => (await ask('GET', `/api/projects/${id}`, { key: one })).status;
    const second = await renew({ headers });
    expect([await opens(key), await opens(second)]).toEqual([404, 200]);
    const third = await renew({ key: second });
    expect([await opens(second), await opens(third)]).toEqual([404, 200]);
    expect((await ask('POST', `/api/projects/${id}/key`, { key: second })).status).toBe(404);
    // The browser's own way in is another one.
    expect((await ask('GET', `/api/projects/${id}`, { headers })).status).toBe(200);
  });

  test('guessing keys ends at 429 with the time to wait', async () => {
    const headers = { 'X-Forwarded-For': '203.0.113.9' };
    const statuses: number[] = [];
    for (let n = 0; n < 22; n++) statuses.push((await ask('GET', path, { key: createKey().key, headers })).status);
    expect(statuses).toContain(429);
    const last = await ask('GET', path, { key: createKey().key, headers });
    expect(Number(last.headers.get('Retry-After'))).toBeGreaterThan(0);
    // Who has the right key is not hindered by who guesses beside.
    expect((await ask('GET', path, { key: project.key, headers })).status).toBe(200);
  });
});

describe('names', () => {
  test.each(['고양이', 'a/../b', '<b>x</b>', 'x'.repeat(100), ' trimmed '])('%j is a name', async (name) => {
    const [status, body] = await call('PATCH', '', { name });
    expect([status, (body as { name: string }).name]).toEqual([200, name.trim()]);
  });
  test.each(['', '   ', 'x'.repeat(101), 'a\u0000b', 'a\r\nb', 'a\u202eb'])('%j is none', async (name) => {
    const [status, body] = await call('PATCH', '', { name });
    expect([status, (body as { code: string }).code]).toEqual([422, 'out-of-limits']);
  });
  test('what is malformed says so', async () => {
    expect((await ask('PATCH', path, { key: project.key, body: '{' })).status).toBe(400);
    expect((await call('PATCH', '', { name: 7 }))[0]).toBe(400);
    expect((await call('PATCH', '', {}))[0]).toBe(400);
  });
});

describe('classes', () => {
  test('are added, renamed and removed; names are unique, their number is limited', async () => {
    const [status, made] = await call('POST', '/classes', { name: 'bird' });
    expect([status, (made as { name: string }).name]).toEqual([201, 'bird']);
    expect((await call('POST', '/classes', { name: 'bird' }))[0]).toBe(409);
    const { id } = made as { id: string };
    expect((await call('PATCH', `/classes/${id}`, { name: 'cat' }))[0]).toBe(409);
    expect((await call('PATCH', `/classes/${id}`, { name: 'owl' }))[0]).toBe(200);
    for (const name of ['d', 'e']) expect((await call('POST', '/classes', { name }))[0]).toBe(201);
    expect((await call('POST', '/classes', { name: 'f' }))[0]).toBe(422);
    expect((await call('DELETE', `/classes/${id}`))[0]).toBe(204);
    expect((await call('DELETE', `/classes/${id}`))[0]).toBe(404);
  });

  test('an empty class changes no model: the revision stays; one with images raises it', async () => {
    const [cat] = project.classes;
    await call('PATCH', `/classes/${cat!.id}`, { name: 'lion' });
    expect(await revision()).toBe(0);
    await ready();
    await call('PATCH', `/classes/${cat!.id}`, { name: 'tiger' });
    expect(await revision()).toBe(1);
    await call('DELETE', `/classes/${cat!.id}`);
    expect(await revision()).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 3500));
    expect(await aws.drain(aws.settings.TRAINING_QUEUE_URL)).toContainEqual({ projectId: project.id });
  });
});

describe('uploads', () => {
  const uploads = (files: unknown[]) => call('POST', `/classes/${project.classes[0]!.id}/uploads`, { files });
  const jpeg = { name: 'a.jpg', type: 'image/jpeg', bytes: 3 };
  const send = async ({ url, fields }: { url: string; fields: Record<string, string> }, data: string, change = {}) => {
    const form = new FormData();
    for (const [name, value] of Object.entries<string>({ ...fields, ...change })) form.append(name, value);
    form.append('file', new Blob([data]));
    return (await fetch(url, { method: 'POST', body: form })).status;
  };

  test('a presigned POST takes just this file under just this key', async () => {
    const [status, body] = await uploads([jpeg, { ...jpeg, bytes: 0 }]);
    expect(status).toBe(201);
    const [first] = (body as { uploads: { imageId: string; url: string; fields: Record<string, string> }[] }).uploads;
    const key = uploadKey({ projectId: project.id, classId: project.classes[0]!.id, imageId: first!.imageId });
    expect(first!.fields.key).toBe(key);
    expect(await send(first!, 'abcd')).toBeGreaterThanOrEqual(400);
    expect(await send(first!, 'abc', { key: key.replace(/.$/, 'x') })).toBeGreaterThanOrEqual(400);
    expect(await send(first!, 'abc', { 'Content-Type': 'text/html' })).toBeGreaterThanOrEqual(400);
    expect(await aws.bucket.head(key)).toBeNull();
    expect(await send(first!, 'abc')).toBeLessThan(300);
    expect((await aws.bucket.head(key))!.bytes).toBe(3);
  });

  test.each([
    [413, 'too-large', { bytes: 15_000_001 }],
    [422, 'unsupported-type', { type: 'image/svg+xml' }],
    [422, 'unsupported-type', { type: '' }],
    [422, 'out-of-limits', { bytes: -1 }],
    [400, 'malformed', { bytes: 'many' }],
    [422, 'out-of-limits', { burst: 'x'.repeat(101) }],
    [400, 'malformed', { burst: 7 }],
  ])('%i %s', async (status, code, change) => {
    const [answered, body] = await uploads([{ ...jpeg, ...change }]);
    expect([answered, (body as { code: string }).code]).toEqual([status, code]);
    expect(await postgres.db.select().from(images).where(eq(images.projectId, project.id))).toEqual([]);
  });

  test('frames of a burst keep its id', async () => {
    await uploads([{ ...jpeg, burst: 'first' }, jpeg]);
    const kept = await postgres.sql`select burst from images where project_id = ${project.id} order by burst`;
    expect(kept.map(({ burst }) => burst)).toEqual(['first', null]);
  });

  test('a few hundred at a time, and no more than a project may have', async () => {
    expect((await uploads(Array(201).fill(jpeg)))[0]).toBe(422);
    expect((await uploads(Array(200).fill(jpeg)))[0]).toBe(201);
    const [status, body] = await uploads(Array(51).fill(jpeg));
    expect([status, (body as { params: unknown }).params]).toEqual([422, { limit: 250, room: 50 }]);
  });

  test('a slow network gets a fresh link while its image is pending', async () => {
    const [, body] = await uploads([jpeg]);
    const [{ imageId }] = (body as { uploads: [{ imageId: string }] }).uploads;
    expect((await call('POST', `/images/${imageId}/upload`))[0]).toBe(200);
    await postgres.db.update(images).set({ state: 'ready' }).where(eq(images.id, imageId));
    expect((await call('POST', `/images/${imageId}/upload`))[0]).toBe(409);
    expect((await call('POST', `/images/${crypto.randomUUID()}/upload`))[0]).toBe(404);
  });
});

describe('images', () => {
  test('come in pages, by class and state', async () => {
    for (let n = 0; n < 120; n++)
      await insertImage(postgres.db, { projectId: project.id, classId: project.classes[0]!.id });
    const { id } = await ready(1);
    interface Page {
      images: { id: string; thumbnailUrl: string | null }[];
      next: string | null;
    }
    const first = (await call('GET', '/images'))[1] as Page;
    const second = (await call('GET', `/images?cursor=${first.next}`))[1] as Page;
    expect([first.images.length, second.images.length, second.next]).toEqual([100, 21, null]);
    expect(new Set([...first.images, ...second.images].map((image) => image.id)).size).toBe(121);
    const own = (await call('GET', `/images?class=${project.classes[1]!.id}&state=ready`))[1] as Page;
    expect(own.images.map((image) => image.id)).toEqual([id]);
    expect(own.images[0]!.thumbnailUrl).toContain(`thumbnails/${project.id}/${id}.webp`);
    const two = [first.images[3]!.id, id];
    const named = (await call('GET', `/images?ids=${two.join(',')}`))[1] as Page;
    expect(named.images.map((image) => image.id)).toEqual(two);
    expect((await call('GET', '/images?ids=nonsense'))[0]).toBe(404);
    expect((await call('GET', '/images?cursor=nonsense'))[0]).toBe(400);
    expect((await call('GET', '/images?state=lost'))[0]).toBe(400);
  });

  test('are moved and removed, with their objects', async () => {
    const { id, key } = await ready();
    await aws.bucket.put(key, new Uint8Array(3), 'image/jpeg');
    const [, dog] = project.classes;
    expect((await call('PATCH', `/images/${id}`, { classId: crypto.randomUUID() }))[0]).toBe(404);
    expect((await call('PATCH', `/images/${id}`, { classId: dog!.id }))[1]).toMatchObject({ classId: dog!.id });
    expect(await revision()).toBe(1);
    expect((await call('DELETE', `/images/${id}`))[0]).toBe(204);
    expect(await revision()).toBe(2);
    expect(await aws.bucket.head(key)).toBeNull();
    expect((await call('DELETE', `/images/${id}`))[0]).toBe(404);
  });
});

describe('runs and models', () => {
  test('train now queues one run, however often it is asked; cancelling ends it', async () => {
    const [status, run] = await call('POST', '/runs', {});
    expect([status, (run as { state: string }).state]).toEqual([202, 'queued']);
    const { id } = run as { id: string };
    expect(((await call('POST', '/runs'))[1] as { id: string }).id).toBe(id);
    expect(await aws.drain(aws.settings.TRAINING_QUEUE_URL)).toContainEqual({ projectId: project.id, runId: id });
    expect((await call('DELETE', `/runs/${id}`))[1]).toMatchObject({ id, state: 'cancelled' });
    expect((await call('GET', `/runs/${id}`))[1]).toMatchObject({ state: 'cancelled' });
    expect(((await call('GET', '/runs'))[1] as { runs: unknown[] }).runs).toHaveLength(1);
  });

  test.each([{ stage: 'x' }, { backbone: 'resnet' }])('%j is not there', async (asked) => {
    expect((await call('POST', '/runs', asked))[0]).toBe(422);
    expect(await postgres.db.select().from(runs).where(eq(runs.projectId, project.id))).toEqual([]);
  });

  test('a model has links that work as they are; an older one can be restored', async () => {
    const [older, newer] = [
      await insertModel(postgres, project.id, { 'labels.txt': Buffer.from('cat\n') }, { createdAgo: 60 }),
      await insertModel(postgres, project.id, { 'labels.txt': Buffer.from('cat\n') }),
    ];
    const [, body] = await call('GET', '/models');
    const { models } = body as {
      models: { id: string; predictUrl: string; artifacts: { url: string; bytes: number }[] }[];
    };
    expect(models.map(({ id }) => id)).toEqual([newer!.id, older!.id]);
    expect(models[0]!.artifacts[0]).toMatchObject({ name: 'labels.txt', bytes: 4 });
    expect(models[0]!.artifacts[0]!.url).toMatch(
      /^http:\/\/localhost:8081\/models\/.*\/labels.txt\?expires=\d+&signature=/,
    );
    expect((await call('POST', `/models/${older!.id}/restore`))[1]).toMatchObject({ model: { id: older!.id } });
    expect((await call('POST', `/models/${crypto.randomUUID()}/restore`))[0]).toBe(404);
  });
});

test('a deleted project is gone at once, and its run is cancelled', async () => {
  await call('POST', '/runs', {});
  expect((await call('DELETE'))[0]).toBe(204);
  expect((await call('GET'))[0]).toBe(404);
  const [run] = await postgres.db.select().from(runs).where(eq(runs.projectId, project.id));
  expect(run!.state).toBe('cancelled');
});

test('the description covers every route, from the schemas that validate', async () => {
  const document = (await (await ask('GET', '/api/openapi.json')).json()) as {
    paths: Record<string, Record<string, unknown>>;
  };
  const described = Object.entries(document.paths).flatMap(([route, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${route}`),
  );
  const served = app.routes
    .filter(({ method, path: route }) => method !== 'ALL' && /^\/api\/(projects|session|backbones)/.test(route))
    .map(({ method, path: route }) => `${method} ${route.replaceAll(/:(\w+)/g, '{$1}')}`);
  expect(new Set(described)).toEqual(new Set(served));
  expect(described).toHaveLength(22);
});

test('no answer lets anything run, load or frame that is not ours', async () => {
  const policy = (await ask('GET', '/api/openapi.json')).headers.get('Content-Security-Policy')!;
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("script-src 'self'");
  expect(policy).toContain("frame-ancestors 'none'");
  expect(policy).not.toContain('unsafe');
});
