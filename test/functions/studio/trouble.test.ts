/** What holds while bucket, queues or Postgres are out of reach, and what forged requests get. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { eq, sql } from 'drizzle-orm';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connect } from '#shared/database.ts';
import { images, projects, sessions } from '#shared/schema.ts';
import { createStudio } from '../../../functions/studio/app.ts';
import { insertImage } from '../../support/rows.ts';
import { type Created, createTestStudio, type TestStudio } from '../../support/studio.ts';

let studio: TestStudio;
let project: Created;
let path: string;
beforeAll(async () => {
  studio = await createTestStudio();
});
afterAll(() => studio?.close());
beforeEach(async () => {
  project = await studio.create();
  path = `/api/projects/${project.id}`;
});
const ready = (on: TestStudio, { id, classes }: Created) =>
  insertImage(on.postgres.db, { projectId: id, classId: classes[0]!.id, state: 'ready' });

describe('the queues and the bucket', () => {
  test('are away: what was committed stands, and is answered', async () => {
    const { id } = await ready(studio, project);
    expect((await studio.ask('DELETE', `${path}/images/${id}`, { key: project.key })).status).toBe(204);
    const run = await studio.ask('POST', `${path}/runs`, { key: project.key });
    expect([run.status, ((await run.json()) as { state: string }).state]).toEqual([202, 'queued']);
    const [row] = await studio.postgres.db.select().from(projects).where(eq(projects.id, project.id));
    // maintain finds it by this.
    expect([row!.revision, row!.trainDueAt]).toEqual([1, expect.any(Date)]);
  });

  test('take what is said to them and never answer: the learner waits a few seconds, not for ever', async () => {
    const open = new Set<Socket>();
    const silent = createServer((socket) => open.add(socket)).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const stalled = await createTestStudio({
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ENDPOINT_URL_SQS: endpoint,
      TRAINING_QUEUE_URL: `${endpoint}/000000000000/training`,
    });
    try {
      const made = await stalled.create();
      const { id } = await ready(stalled, made);
      const began = performance.now();
      const answer = await stalled.ask('DELETE', `/api/projects/${made.id}/images/${id}`, { key: made.key });
      expect(answer.status).toBe(204);
      const seconds = (performance.now() - began) / 1000;
      expect(seconds).toBeGreaterThan(2.5);
      expect(seconds).toBeLessThan(6);
      expect(open.size).toBeGreaterThan(0);
    } finally {
      for (const socket of open) socket.destroy();
      silent.close();
      await stalled.close();
    }
  });
});

test('it is healthy while Postgres answers, and says so when it does not', async () => {
  expect((await studio.ask('GET', '/healthz')).status).toBe(200);
  const away = connect('postgres://nobody@127.0.0.1:1/none');
  const app = createStudio(
    { ...studio, db: away.db, log: pino({ level: 'silent' }) } as unknown as Parameters<typeof createStudio>[0],
    'dist/web',
  );
  const answer = await app.request('/healthz');
  expect([answer.status, answer.headers.get('Retry-After')]).toEqual([503, '5']);
  const broken = await app.request(`/api/projects/${crypto.randomUUID()}`, { headers: { Authorization: 'Bearer x' } });
  expect([broken.status, broken.headers.get('Retry-After')]).toEqual([503, '5']);
  expect(await broken.text()).not.toMatch(/127\.0\.0\.1|select|postgres/i);
  await away.close();
});

describe('pages of images', () => {
  const list = async (query: string) => {
    const answer = await studio.ask('GET', `${path}/images${query}`, { key: project.key });
    return { status: answer.status, ...((await answer.json()) as { images: { id: string }[]; next: string | null }) };
  };
  const cursor = (text: string) => `?cursor=${Buffer.from(text).toString('base64url')}`;

  test('go on where they ended though the last image is gone, and though all came in one millisecond, some in one microsecond', async () => {
    const values = Array.from({ length: 230 }, (_, n) => ({
      projectId: project.id,
      classId: project.classes[0]!.id,
      uploadClassId: project.classes[0]!.id,
      name: 'a.jpg',
      type: 'image/jpeg',
      bytes: 3,
      createdAt: sql`timestamptz '2026-01-02 03:04:05.678Z' + ${Math.floor(n / 3)} * interval '1 microsecond'`,
    }));
    await studio.postgres.db.insert(images).values(values);
    const first = await list('');
    await studio.postgres.db.delete(images).where(eq(images.id, first.images.at(-1)!.id));
    const second = await list(`?cursor=${first.next}`);
    const third = await list(`?cursor=${second.next}`);
    const all = [first, second, third].flatMap((page) => page.images.map(({ id }) => id));
    expect([all.length, new Set(all).size, third.next]).toEqual([230, 230, null]);
  });

  test('a forged cursor is malformed or finds nothing', async () => {
    const id = crypto.randomUUID();
    const forge = (createdAt: unknown, imageId: unknown = id) => JSON.stringify({ createdAt, id: imageId });
    const soon = '2026-01-02T03:04:05.678901+00:00';
    const forged = [forge('2026-13-45T00:00:00Z'), forge(`${soon}'; drop table images`), forge(soon, 'x'), forge(1)];
    for (const text of ['x', 'null', ...forged]) {
      expect([text, (await list(cursor(text))).status]).toEqual([text, 400]);
    }
    const last = forge('9999-12-31T23:59:59.999999+00:00');
    expect(await list(cursor(last))).toMatchObject({ status: 200, images: [], next: null });
    expect((await list('?class=not-an-id')).status).toBe(404);
  });
});

describe('another site', () => {
  const withCookie = async () => {
    const made = await studio.ask('POST', '/api/projects', { body: { name: 'A' } });
    const cookie = made.headers.get('Set-Cookie')!.split(';')[0]!;
    return { Cookie: cookie, own: `/api/projects/${((await made.json()) as { id: string }).id}` };
  };
  test.each<[string, Record<string, string>]>([
    ['by its origin', { Origin: 'https://evil.example' }],
    ['by hiding its origin', { Origin: 'null' }],
    ['by what the browser says of it', { 'Sec-Fetch-Site': 'cross-site' }],
    ['of the same domain', { 'Sec-Fetch-Site': 'same-site' }],
    ['with a password in its link', { Origin: 'https://evil.example', Authorization: 'Basic eDp4' }],
  ])('is known %s', async (_, headers) => {
    const { Cookie, own } = await withCookie();
    const refused = await studio.ask('DELETE', own, { headers: { Cookie, ...headers } });
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([403, 'foreign-origin']);
    expect((await studio.ask('GET', own, { headers: { Cookie } })).status).toBe(200);
  });
  test('may use a key, which it has to know', async () => {
    const headers = { Origin: 'https://school.example' };
    expect((await studio.ask('PATCH', path, { key: project.key, body: { name: 'B' }, headers })).status).toBe(200);
  });
  test('a session opens no project of another one', async () => {
    const { Cookie } = await withCookie();
    expect((await studio.ask('GET', path, { headers: { Cookie } })).status).toBe(404);
    expect((await studio.ask('GET', path, { headers: { Cookie: 'session=forged' } })).status).toBe(401);
    await studio.postgres.db.delete(sessions);
    expect((await studio.ask('GET', path, { headers: { Cookie } })).status).toBe(401);
  });
});

describe('a request', () => {
  test('that is too large is refused before it is read', async () => {
    const body = JSON.stringify({ name: 'x'.repeat(1024 * 1024) });
    const asked = await studio.ask('PATCH', path, { key: project.key, body });
    expect([asked.status, asked.headers.get('Content-Type')]).toEqual([413, 'application/problem+json']);
  });
  test.each(['text/plain', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencoded'])(
    'in %s is malformed, and told what is expected',
    async (type) => {
      const headers = { 'Content-Type': type };
      for (const [method, below, body] of [
        ['PATCH', '', '{"name":"x"}'],
        ['POST', '/runs', '{"stage":"head"}'],
      ]) {
        const asked = await studio.ask(method!, path + below, { key: project.key, body, headers });
        expect(asked.status).toBe(400);
        expect(await asked.text()).toContain('application/json');
      }
    },
  );
  test.each(['classes', 'images', 'runs', 'models'])('for what is no id below %s finds nothing', async (what) => {
    const suffix = { classes: '/uploads', images: '/upload', runs: '', models: '/restore' }[what]!;
    const method = what === 'runs' ? 'GET' : 'POST';
    const body = what === 'classes' ? { files: [{ name: 'a', type: 'image/png', bytes: 1 }] } : undefined;
    for (const id of ['7', '..%2f..', 'x'.repeat(36), crypto.randomUUID()]) {
      const asked = await studio.ask(method, `${path}/${what}/${id}${suffix}`, { key: project.key, body });
      expect([id, asked.status]).toEqual([id, 404]);
    }
  });
});

test('using a project keeps it from expiring, and is written once an hour', async () => {
  const used = async () => {
    const [row] = await studio.postgres.db.select().from(projects).where(eq(projects.id, project.id));
    return row!.usedAt.getTime();
  };
  const set = (minutes: number) =>
    studio.postgres.db
      .update(projects)
      .set({ usedAt: new Date(Date.now() - minutes * 60_000) })
      .where(eq(projects.id, project.id));
  await set(59);
  const before = await used();
  await studio.ask('GET', path, { key: project.key });
  expect(await used()).toBe(before);
  await set(61);
  await studio.ask('GET', path, { key: project.key });
  expect(await used()).toBeGreaterThan(before);
});
