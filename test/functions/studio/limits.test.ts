/** What one browser, one address and one project may do, each with a small limit. */
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '#shared/access.ts';
import { projects, rateLimits, sessions } from '#shared/schema.ts';
import { createTestStudio, type TestStudio } from '../../support/studio.ts';

let studio: TestStudio;
beforeAll(async () => {
  studio = await createTestStudio({
    PROJECTS_PER_SESSION: '2',
    PROJECTS_PER_HOUR: '5',
    WRONG_KEYS_PER_MINUTE: '3',
    BYTES_PER_PROJECT: '1000000',
    IMAGES_PER_HOUR: '10',
    BYTES_PER_HOUR: '1500000',
  });
});
afterAll(() => studio?.close());

const from = (address: string) => ({ headers: { 'X-Forwarded-For': address } });
const make = (asked = {}) => studio.ask('POST', '/api/projects', { ...asked, body: { name: 'A' } });
const problemOf = async (answer: Response) => [answer.status, ((await answer.json()) as { code: string }).code];

test('a browser has so many projects at once; a deleted one makes room', async () => {
  const first = await make(from('192.0.2.1'));
  const headers = { Cookie: first.headers.get('Set-Cookie')!.split(';')[0]!, 'X-Forwarded-For': '192.0.2.1' };
  expect((await make({ headers })).status).toBe(201);
  expect(await problemOf(await make({ headers }))).toEqual([422, 'too-many-projects']);
  const { id } = (await first.json()) as { id: string };
  expect((await studio.ask('DELETE', `/api/projects/${id}`, { headers })).status).toBe(204);
  expect((await make({ headers })).status).toBe(201);
});

test('a request waits for another one of its browser, and does not get past the limit beside it', async () => {
  const first = await make(from('192.0.2.2'));
  const { id } = (await first.json()) as { id: string };
  const headers = { Cookie: first.headers.get('Set-Cookie')!.split(';')[0]!, 'X-Forwarded-For': '192.0.2.2' };
  const { db } = studio.postgres;
  const [row] = await db.select().from(projects).where(eq(projects.id, id));
  const sessionId = row!.sessionId!;
  const second = await db.transaction(async (transaction) => {
    await transaction.select().from(sessions).where(eq(sessions.id, sessionId)).for('update');
    const request = make({ headers });
    await new Promise((resolve) => setTimeout(resolve, 200));
    await transaction.insert(projects).values({ name: 'B', sessionId, keyHash: createKey().hash });
    return { request };
  });
  expect(await problemOf(await second.request)).toEqual([422, 'too-many-projects']);
});

test('an address makes so many projects in an hour, whatever it writes into the header itself', async () => {
  for (let n = 0; n < 5; n++) expect((await make(from(`10.0.0.${n}, 198.51.100.7`))).status).toBe(201);
  const refused = await make(from('10.9.9.9, 198.51.100.7'));
  expect(await problemOf(refused.clone())).toEqual([429, 'too-many']);
  const wait = Number(refused.headers.get('Retry-After'));
  expect(wait).toBeGreaterThan(3590);
  expect(wait).toBeLessThanOrEqual(3600);
  expect((await make(from('198.51.100.8'))).status).toBe(201);
  // A new hour begins with a new count.
  await studio.postgres.db.update(rateLimits).set({ startedAt: sql`clock_timestamp() - interval '61 minutes'` });
  expect((await make(from('198.51.100.7'))).status).toBe(201);
});

test('what is refused as malformed is not counted', async () => {
  for (let n = 0; n < 8; n++) {
    const refused = await studio.ask('POST', '/api/projects', { ...from('198.51.100.20'), body: { name: '' } });
    expect(refused.status).toBe(422);
  }
  expect((await make(from('198.51.100.20'))).status).toBe(201);
});

test('wrong keys are counted for a network, all of an IPv6 household together', async () => {
  const { id } = await studio.create(undefined, from('192.0.2.40'));
  const statuses: number[] = [];
  for (let n = 0; n < 5; n++) {
    const asked = { key: createKey().key, ...from(`2001:db8:1:2::${n}`) };
    statuses.push((await studio.ask('GET', `/api/projects/${id}`, asked)).status);
  }
  expect(statuses).toEqual([404, 404, 404, 429, 429]);
  const other = { key: createKey().key, ...from('2001:db8:1:3::1') };
  expect((await studio.ask('GET', `/api/projects/${id}`, other)).status).toBe(404);
});

test('a project keeps so many bytes', async () => {
  const { id, key, classes } = await studio.create(undefined, from('192.0.2.50'));
  const path = `/api/projects/${id}/classes/${classes[0]!.id}/uploads`;
  const send = (bytes: number) =>
    studio.ask('POST', path, { key, body: { files: [{ name: 'a.jpg', type: 'image/jpeg', bytes }] } });
  expect((await send(600_000)).status).toBe(201);
  expect(await problemOf(await send(400_001))).toEqual([422, 'too-many-bytes']);
  expect((await send(400_000)).status).toBe(201);
});

describe('uploads in an hour', () => {
  const picture = { name: 'a.jpg', type: 'image/jpeg', bytes: 1000 };
  const upload = async (address: string, files: object[], headers: Record<string, string> = {}) => {
    const all = { 'X-Forwarded-For': address, ...headers };
    const { id, key, classes } = await studio.create(undefined, { headers: all });
    return (more = files) =>
      studio.ask('POST', `/api/projects/${id}/classes/${classes[0]!.id}/uploads`, {
        key,
        body: { files: more },
        headers: { 'X-Forwarded-For': address },
      });
  };

  test('a learner asks for so many pictures, in however many projects; others are not told to wait', async () => {
    const made = await make(from('192.0.2.60'));
    const headers = { Cookie: made.headers.get('Set-Cookie')!.split(';')[0]! };
    const ask = await upload('192.0.2.60', Array(5).fill(picture), headers);
    const other = await upload('192.0.2.60', [picture]);
    expect([(await ask()).status, (await ask()).status]).toEqual([201, 201]);
    const refused = await ask();
    expect(await problemOf(refused.clone())).toEqual([429, 'too-many-pictures']);
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(3590);
    // However often it is asked: together more than the address may.
    for (let n = 0; n < 80; n++) expect((await ask()).status).toBe(429);
    expect((await other()).status).toBe(201);
    await studio.postgres.db.update(rateLimits).set({ startedAt: sql`clock_timestamp() - interval '61 minutes'` });
    expect((await ask()).status).toBe(201);
  });

  test('a learner asks for so many bytes', async () => {
    const ask = await upload('192.0.2.61', []);
    expect((await ask([{ ...picture, bytes: 900_000 }])).status).toBe(201);
    // Also what a project had no room for was asked for.
    expect(await problemOf(await ask([{ ...picture, bytes: 600_000 }]))).toEqual([422, 'too-many-bytes']);
    expect(await problemOf(await ask([{ ...picture, bytes: 1000 }]))).toEqual([429, 'too-many-pictures']);
  });

  test('an address asks for so many, by however many learners', async () => {
    const statuses: number[] = [];
    const { db } = studio.postgres;
    for (let learner = 0; learner < 42; learner++) {
      // An address also makes so many projects in an hour, which is another limit.
      await db.delete(rateLimits).where(eq(rateLimits.name, 'new-projects'));
      const ask = await upload('192.0.2.62', Array(10).fill(picture));
      statuses.push((await ask()).status);
    }
    expect(statuses).toEqual([...Array(40).fill(201), 429, 429]);
    expect((await (await upload('192.0.2.63', [picture]))()).status).toBe(201);
  });
});
