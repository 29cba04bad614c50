/** The built page as it is served. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bucketOrigins } from '../../../functions/studio/page.ts';
import { createTestStudio, type TestStudio } from '../../support/studio.ts';

let folder: string;
let studio: TestStudio;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ai-teacher-page-'));
  await mkdir(join(folder, 'web/assets'), { recursive: true });
  await writeFile(join(folder, 'web/index.html'), '<!doctype html><title>AI Teacher</title>');
  await writeFile(join(folder, 'web/assets/index-abc123.js'), 'export {};');
  await writeFile(join(folder, 'secret.txt'), 'not the page’s');
  studio = await createTestStudio({ STUDIO_URL: 'https://teacher.example' }, join(folder, 'web'));
});
afterAll(async () => {
  await studio?.close();
  await rm(folder, { recursive: true, force: true });
});
const get = (path: string, headers = {}) => studio.ask('GET', path, { headers });

test('the page is asked for each time, and not sent again while it is the same', async () => {
  const page = await get('/');
  expect([page.status, page.headers.get('Content-Type')]).toEqual([200, 'text/html; charset=utf-8']);
  expect(await page.text()).toContain('AI Teacher');
  expect(page.headers.get('Cache-Control')).toBe('no-cache');
  const etag = page.headers.get('ETag')!;
  const same = await get('/', { 'If-None-Match': etag });
  expect([same.status, same.headers.get('Cache-Control')]).toEqual([304, 'no-cache']);
  await writeFile(join(folder, 'web/index.html'), '<!doctype html><title>Another</title>');
  expect(await (await get('/', { 'If-None-Match': etag })).text()).toContain('Another');
});

test('what has a hash in its name is kept', async () => {
  const script = await get('/assets/index-abc123.js');
  expect(script.headers.get('Content-Type')).toMatch(/^text\/javascript/);
  expect(script.headers.get('Cache-Control')).toBe('public, max-age=31536000, immutable');
});

test.each([
  '/assets/gone-1.js',
  '/nowhere',
  '/api/nowhere',
  '/../secret.txt',
  '/%2e%2e/secret.txt',
  '/..%2fsecret.txt',
])('%s is not there', async (path) => {
  const answer = await get(path);
  expect([answer.status, answer.headers.get('Content-Type')]).toEqual([404, 'application/problem+json']);
});

test.each(['/', '/assets/index-abc123.js', '/api/projects', '/api/nowhere'])(
  '%s lets nothing run, load or frame that is not ours',
  async (path) => {
    const { headers } = await get(path);
    const policy = headers.get('Content-Security-Policy')!;
    expect(policy.split('; ').sort()).toEqual([
      "base-uri 'none'",
      "connect-src 'self' http://127.0.0.1:1 http://localhost:8081 http://localhost:8082",
      "default-src 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "img-src 'self' blob: data: http://127.0.0.1:1",
      "manifest-src 'self'",
      "require-trusted-types-for 'script'",
      "script-src 'self'",
      "style-src 'self'",
      "trusted-types 'none'",
      "worker-src 'self'",
    ]);
    expect(Object.fromEntries(headers)).toMatchObject({
      'cross-origin-embedder-policy': 'credentialless',
      'cross-origin-opener-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'strict-transport-security': 'max-age=31536000',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    });
    expect(headers.has('X-Powered-By')).toBe(false);
  },
);

test('over https the session’s cookie is bound to this host', async () => {
  const made = await studio.ask('POST', '/api/projects', { body: { name: 'A' } });
  expect(made.headers.get('Set-Cookie')).toMatch(
    /^__Host-session=[\w-]{43};.*Path=\/;.*HttpOnly; Secure; SameSite=Lax/,
  );
  expect(made.headers.get('Set-Cookie')).not.toMatch(/Domain/i);
});

test('a bucket of AWS is reached by its own name', () => {
  const aws = { ...studio.settings, AWS_ENDPOINT_URL_S3: undefined, BUCKET: 'b', AWS_REGION: 'ap-northeast-2' };
  expect(bucketOrigins(aws)).toContain('https://b.s3.ap-northeast-2.amazonaws.com');
  const seen = { ...studio.settings, BUCKET_ENDPOINT_URL: 'https://pictures.example/some/path' };
  expect(bucketOrigins(seen)).toEqual(['https://pictures.example']);
});
