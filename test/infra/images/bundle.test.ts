/** The programs as the image has them: bundled, without a tree of packages, against a real Postgres, S3 and SQS. */
import { execFile, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../../support/bucket.ts';
import { createLearner } from '../../support/learner.ts';
import { freePort } from '../../support/ports.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../..', import.meta.url));
const names = ['studio', 'export', 'predict', 'maintain', 'provision', 'migrate'];

let app: string;
let database: TestDatabase;
let aws: TestBucketAndQueues;
let environment: NodeJS.ProcessEnv;

beforeAll(async () => {
  app = mkdtempSync(join(tmpdir(), 'ai-teacher-bundle-'));
  const entries = names.map((name) => `functions/${name}/main.ts`);
  await run(process.execPath, [join(root, 'infra/images/bundle.ts'), app, ...entries]);
  cpSync(join(root, 'dist/web'), join(app, 'dist/web'), { recursive: true });
  [database, aws] = await Promise.all([createTestDatabase(), startTestBucketAndQueues()]);
  const { BUCKET_ENDPOINT_URL: _, ...settings } = aws.settings;
  environment = {
    PATH: process.env.PATH,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    ...settings,
    DATABASE_URL: database.url,
    SIGNING_SECRET: 's'.repeat(64),
    EXPORT_URL: 'http://localhost:1',
    PREDICT_URL: 'http://localhost:2',
  };
}, 120_000);

afterAll(async () => {
  await Promise.all([database?.close(), aws?.close()]);
  rmSync(app, { recursive: true, force: true });
});

test.each(['migrate', 'provision', 'maintain'])('%s does its work and ends', async (name) => {
  const { stdout } = await run(process.execPath, [`functions/${name}/main.js`], { cwd: app, env: environment });
  expect(stdout).not.toContain('"level":60');
});

test.each(['studio', 'export', 'predict'])(
  '%s serves, and ends when it is told to',
  async (name) => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const child = spawn(process.execPath, [`functions/${name}/main.js`], {
      cwd: app,
      env: { ...environment, STUDIO_URL: url, PORT: String(port) },
      stdio: 'ignore',
    });
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    try {
      await expect
        .poll(
          () =>
            fetch(`${url}/healthz`).then(
              ({ status }) => status,
              () => 0,
            ),
          { timeout: 20_000 },
        )
        .toBe(200);
      if (name === 'studio') {
        expect(await (await fetch(url)).text()).toContain('<script');
        // An upload takes the SDK, which is loaded with the first use.
        const learner = await createLearner(url, 'bundled', ['a', 'b']);
        await learner.upload('a', [{ name: 'a.jpg', type: 'image/jpeg', data: Buffer.from('not a picture') }]);
        expect((await learner.project()).classes[0]!.images.pending).toBe(1);
      }
    } finally {
      child.kill('SIGTERM');
    }
    expect(await ended).toBe(0);
  },
  60_000,
);

test('what has machine code loads from the few packages that are left, for this platform alone', async () => {
  const load =
    "const [{ InferenceSession }, sharp] = await Promise.all([import('onnxruntime-node'), import('sharp')]); console.log(typeof InferenceSession.create, typeof sharp.default)";
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', load], {
    cwd: app,
    env: environment,
  });
  expect(stdout).toBe('function function\n');
  const machines = join(app, 'node_modules/onnxruntime-node/bin/napi-v6');
  expect(readdirSync(machines)).toEqual([process.platform]);
  expect(readdirSync(join(machines, process.platform))).toEqual([process.arch]);
});
