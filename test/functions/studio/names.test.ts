/** Names of every kind: each is taken as it is or refused with a sentence, and comes back just so. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Created, createTestStudio, type TestStudio } from '../../support/studio.ts';

let studio: TestStudio;
let project: Created;
let path: string;
beforeAll(async () => {
  studio = await createTestStudio();
  project = await studio.create();
  path = `/api/projects/${project.id}`;
});
afterAll(() => studio?.close());
const rename = (name: unknown) => studio.ask('PATCH', path, { key: project.key, body: { name } });

describe('taken', () => {
  test.each([
    ['an emoji is one character', '🐶'.repeat(100), '🐶'.repeat(100)],
    ['a family is joined by what nobody sees', '👨‍👩‍👧‍👦', '👨‍👩‍👧‍👦'],
    ['Hangul in parts becomes whole', '\u1112\u1161\u11ab\u1100\u1173\u11af', '한글'],
    ['what a database could take for its own', `'; drop table projects; --`, `'; drop table projects; --`],
    ['what a page could take for its own', '<img src=x onerror=alert(1)>', '<img src=x onerror=alert(1)>'],
    ['what a file system could take for its own', '../../etc/passwd', '../../etc/passwd'],
    ['what a template could take for its own', '{{7*7}} #{7*7} %s %00', '{{7*7}} #{7*7} %s %00'],
    ['Arabic needs no marks', 'قطة', 'قطة'],
    ['spaces around it', ' \u00a0cat\u3000', 'cat'],
  ])('%s', async (_, name, kept) => {
    const answer = await rename(name);
    expect([answer.status, ((await answer.json()) as { name: string }).name]).toEqual([200, kept]);
    const again = await studio.ask('GET', path, { key: project.key });
    expect(((await again.json()) as { name: string }).name).toBe(kept);
  });
});

describe('refused', () => {
  test.each([
    ['nothing to see', '\u200d\u3164\u00ad', '1 to 100'],
    ['too long', '🐶'.repeat(101), '1 to 100'],
    ['10,000 characters', 'x'.repeat(10_000), '1 to 100'],
    ['NUL', 'a\u0000', 'control'],
    ['a line end', 'a\u2028b', 'control'],
    ['an escape', '\u001b[31mred', 'control'],
    ['right to left', 'cat\u202egpj.exe', 'control'],
    ['right to left, the Arabic way', 'cat\u061c', 'control'],
    ['isolated', '\u2067cat\u2069', 'control'],
    ['half an emoji', 'a\ud83d', 'control'],
  ])('%s', async (_, name, why) => {
    const answer = await rename(name);
    const { code, detail } = (await answer.json()) as { code: string; detail: string };
    expect([answer.status, code]).toEqual([422, 'out-of-limits']);
    expect(detail).toContain(why);
  });
  test.each([7, null, ['cat'], { cat: 1 }])('%j is malformed', async (name) => {
    expect((await rename(name)).status).toBe(400);
  });
});

test('classes of a new project have different names, in one spelling of Unicode', async () => {
  const twice = await studio.ask('POST', '/api/projects', { body: { name: 'A', classes: ['é', 'e\u0301'] } });
  expect([twice.status, ((await twice.json()) as { code: string }).code]).toEqual([422, 'class-exists']);
  // Upper and lower case are different things to a learner who sorts letters.
  const letters = await studio.ask('POST', '/api/projects', { body: { name: 'A', classes: ['a', 'A'] } });
  expect(letters.status).toBe(201);
});

test('a file may be called anything; what could deceive is taken out', async () => {
  const given = [
    '../../a.jpg',
    'a\r\nSet-Cookie: x.jpg',
    '\u202egpj.exe',
    '',
    '\u0000',
    `${'🐶'.repeat(300)}x.jpg`,
    '고양이 +1%.jpg',
  ];
  const files = given.map((name) => ({ name, type: 'image/jpeg', bytes: 1 }));
  const below = `${path}/classes/${project.classes[0]!.id}/uploads`;
  const asked = await studio.ask('POST', below, { key: project.key, body: { files } });
  expect(asked.status).toBe(201);
  const { uploads } = (await asked.json()) as { uploads: { fields: { key: string } }[] };
  for (const { fields } of uploads)
    expect(fields.key).toMatch(/^uploads\/[0-9a-f-]{36}\/[0-9a-f-]{36}\/[0-9a-f-]{36}$/);
  const listed = await studio.ask('GET', `${path}/images`, { key: project.key });
  const { images } = (await listed.json()) as { images: { name: string }[] };
  const names = images.map(({ name }) => name);
  expect(names).toEqual([
    '../../a.jpg',
    'aSet-Cookie: x.jpg',
    'gpj.exe',
    'picture',
    'picture',
    // Cut in the middle of a pair: what is left of that one is the sign for what cannot be shown.
    `\ufffd${'🐶'.repeat(97)}x.jpg`,
    '고양이 +1%.jpg',
  ]);
});
