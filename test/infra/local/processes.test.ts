import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, expect, test } from 'vitest';
import { composeEnvironment, embedded, readSecrets } from '../../../infra/local/environment.ts';
import { choosePorts } from '../../../infra/local/ports.ts';
import { startPostgres } from '../../../infra/local/postgres.ts';
import { createRegister, end, startTime } from '../../../infra/local/processes.ts';
import { runOnce, supervise } from '../../../infra/local/supervise.ts';
import { freePort } from '../../support/ports.ts';

const folder = mkdtempSync(join(tmpdir(), 'ai-teacher-local-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const node = (script: string) => ({
  name: 'program',
  command: process.execPath,
  args: ['-e', script],
  environment: process.env,
});

test('a program that dies is started again, and said so; stopping ends it for good', async () => {
  const told: string[] = [];
  const register = createRegister(join(folder, 'a'));
  const supervised = supervise(node('setInterval(() => {}, 1000)'), {
    register,
    logs: folder,
    tell: (line) => told.push(line),
  });
  const first = supervised.pid!;
  process.kill(first, 'SIGKILL');
  await expect.poll(() => supervised.pid !== undefined && supervised.pid !== first, { timeout: 5000 }).toBe(true);
  expect(told.join()).toMatch(/program ended \(SIGKILL\); starting it again/);
  const second = supervised.pid!;
  expect(register.find('program')).toBe(second);
  await supervised.stop();
  expect(startTime(second)).toBeNull();
  expect(register.find('program')).toBeNull();
});

test('a program that is run once says why it failed', async () => {
  const supervising = { logs: folder, tell: () => {} };
  await runOnce(node('process.exit(0)'), supervising);
  await expect(runOnce(node('console.error("no such table"); process.exit(3)'), supervising)).rejects.toThrow(
    /program failed \(exit 3\): no such table/,
  );
});

test('what a supervisor left behind is found by pid and start time, and ended', async () => {
  const register = createRegister(join(folder, 'b'));
  const left = spawn('sleep', ['60']);
  register.add('left', left.pid!);
  // A pid that another program got since is not ours to end.
  writeFileSync(join(folder, 'b', 'reused'), JSON.stringify({ pid: process.pid, started: 'Thu Jan 1 00:00:00 1970' }));
  expect(await register.endAll()).toEqual(['left']);
  expect(startTime(left.pid!)).toBeNull();
  expect(existsSync(join(folder, 'b', 'reused'))).toBe(false);
});

test('a process that does not listen is ended all the same', async () => {
  const stubborn = spawn(process.execPath, [
    '-e',
    'process.on("SIGTERM", () => {}); console.log(1); setInterval(() => {}, 1e3)',
  ]);
  await new Promise((resolve) => stubborn.stdout.once('data', resolve));
  await end(stubborn.pid!, 'SIGTERM', 0.5);
  expect(startTime(stubborn.pid!)).toBeNull();
});

test('Postgres keeps its data, also when the one before was left behind alive', async () => {
  const options = { folder: join(folder, 'postgres'), port: await freePort() };
  const first = await startPostgres(options);
  const sql = postgres(first.url, { max: 1, onnotice: () => {} });
  await sql`create table kept as select 7 as number`;
  await sql.end();
  // As after a hard kill of its supervisor: it lives on, and is taken over.
  const second = await startPostgres({ ...options, port: await freePort() });
  expect(startTime(first.pid)).toBeNull();
  const again = postgres(second.url, { max: 1 });
  expect((await again`select number from kept`)[0]).toEqual({ number: 7 });
  await again.end();
  await second.stop();
  expect(startTime(second.pid)).toBeNull();
});

test('a taken port is named', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await expect(choosePorts(port)).rejects.toThrow(new RegExp(`Port ${port} is taken.*PORT=9000`));
  server.close();
});

test('secrets are made once, for the owner’s eyes', () => {
  const secrets = readSecrets(folder);
  expect(readSecrets(folder)).toEqual(secrets);
  expect(secrets.signing.length).toBeGreaterThanOrEqual(32);
  expect(readFileSync(join(folder, 'secrets.json'), 'utf8')).toContain(secrets.signing);
});

test('what the caller sets wins, and takes the place of the embedded part', () => {
  const ports = { studio: 1, export: 2, predict: 3, aws: 4, postgres: 5 };
  const secrets = { accessKey: 'A', secretKey: 'S', signing: 'x'.repeat(32) };
  const compose = (given: NodeJS.ProcessEnv) =>
    composeEnvironment({ given, ports, data: '/d', root: '/r', secrets, databaseUrl: 'postgres://embedded' });
  expect(embedded({})).toEqual({ s3: true, sqs: true, postgres: true });
  expect(compose({ SETTLE_SECONDS: '1' })).toMatchObject({
    AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:4',
    AWS_ACCESS_KEY_ID: 'A',
    DATABASE_URL: 'postgres://embedded',
    SETTLE_SECONDS: '1',
  });
  const given = {
    AWS_ENDPOINT_URL_S3: 'https://s3.eu-central-1.amazonaws.com',
    AWS_ENDPOINT_URL_SQS: 'https://sqs.eu-central-1.amazonaws.com',
    AWS_ACCESS_KEY_ID: 'mine',
    BUCKET: 'pictures',
  };
  expect(embedded(given)).toEqual({ s3: false, sqs: false, postgres: true });
  expect(compose(given)).toMatchObject(given);
});
