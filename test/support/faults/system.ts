/** The programs as real processes with proxies in front of S3, SQS and Postgres, and trainers that a test may kill. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SQSClient } from '@aws-sdk/client-sqs';
import { type Bucket, createBucket } from '#shared/bucket.ts';
import { connect, type Postgres } from '#shared/database.ts';
import { readSettings } from '#shared/settings.ts';
import { awsProgram } from '../../../infra/local/aws.ts';
import { type EmbeddedPostgres, startPostgres } from '../../../infra/local/postgres.ts';
import { type Local, startLocal } from '../../../infra/local/start.ts';
import { createLearner, type File, type Learner } from '../learner.ts';
import { draw, kinds } from '../pictures.ts';
import { freePort } from '../ports.ts';
import { python } from '../python.ts';
import { type FaultProxy, startProxy } from './proxy.ts';

export interface Trainer {
  process: ChildProcess;
  pid: number;
  /** What it logged. */
  lines: string[];
  /** Resolves when it says that it takes work. */
  ready: Promise<void>;
  /** Resolves with milliseconds since the epoch when it is gone. */
  ended: Promise<number>;
}

export interface System {
  local: Local;
  /** Straight to Postgres, beside the proxy. */
  postgres: Postgres;
  /** As the programs have them. */
  environment: NodeJS.ProcessEnv;
  /** Straight to the embedded server. */
  aws: string;
  sqs: SQSClient;
  bucket: Bucket;
  proxies: { s3: FaultProxy; sqs: FaultProxy; postgres: FaultProxy };
  /** Starts one trainer more; `through` a program that becomes the one that its arguments name. */
  trainer: (environment?: NodeJS.ProcessEnv, through?: string[]) => Trainer;
  /** Those that live. */
  trainers: Set<Trainer>;
  /** Postgres stops at once, as a crash would stop it, and starts again on the same data. */
  crashPostgres: () => Promise<void>;
  stop: () => Promise<void>;
}

/** Everything on free ports, without a trainer: a row starts those that it needs. */
export async function startSystem(chance: () => number, variables: NodeJS.ProcessEnv = {}): Promise<System> {
  const opened = new AsyncDisposableStack();
  const data = await mkdtemp(join(tmpdir(), 'ai-teacher-faults-'));
  opened.defer(() => rm(data, { recursive: true, force: true, maxRetries: 5 }));
  try {
    const [postgresPort, awsPort] = [await freePort(), await freePort()];
    const folder = join(data, 'postgres');
    let server: EmbeddedPostgres = await startPostgres({ folder, port: postgresPort });
    opened.defer(() => server.stop());
    const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_REGION: 'us-east-1' };
    const { program, url: aws } = awsProgram({
      python,
      folder: join(data, 'aws'),
      port: awsPort,
      environment: { ...process.env, ...credentials },
    });
    const embedded = spawn(program.command, program.args, { env: program.environment, stdio: 'ignore' });
    opened.defer(() => void embedded.kill('SIGKILL'));
    await until(async () => (await fetch(`${aws}/health`).catch(() => null))?.ok === true, 60);

    const proxies = {
      s3: await startProxy(awsPort, chance),
      sqs: await startProxy(awsPort, chance),
      postgres: await startProxy(postgresPort, chance),
    };
    for (const proxy of Object.values(proxies)) opened.defer(proxy.close);
    const local = await startLocal({
      data: join(data, 'local'),
      port: 0,
      environment: {
        ...process.env,
        ...credentials,
        DATABASE_URL: server.url.replace(`:${postgresPort}/`, `:${proxies.postgres.port}/`),
        AWS_ENDPOINT_URL_S3: proxies.s3.url,
        AWS_ENDPOINT_URL_SQS: proxies.sqs.url,
        // A learner's own network is not the one that is in trouble.
        BUCKET_ENDPOINT_URL: aws,
        UPLOADS_QUEUE_URL: `${proxies.sqs.url}/000000000000/uploads`,
        TRAINING_QUEUE_URL: `${proxies.sqs.url}/000000000000/training`,
        SETTLE_SECONDS: '1',
        LEASE_SECONDS: '6',
        MAINTAIN_SECONDS: '100000',
        ...variables,
      },
    });
    opened.defer(local.stop);
    await local.processes.trainer.stop();
    const environment: NodeJS.ProcessEnv = { ...local.environment, PORT: '0' };
    // The SDK reads them itself, as it does in the programs.
    Object.assign(process.env, credentials);
    const sqs = new SQSClient({ region: credentials.AWS_REGION, endpoint: aws });
    opened.defer(() => sqs.destroy());
    const bucket = createBucket({ ...readSettings('maintain', environment), AWS_ENDPOINT_URL_S3: aws });
    opened.defer(bucket.close);
    const postgres = connect(server.url);
    opened.defer(postgres.close);

    const trainers = new Set<Trainer>();
    opened.defer(async () => {
      for (const { pid } of trainers) {
        // A child that a test has stopped would not see that its worker is gone.
        for (const one of [...childrenOf(pid), pid]) process.kill(one, 'SIGKILL');
      }
      await Promise.all([...trainers].map(({ ended }) => ended));
    });
    const trainer = (own: NodeJS.ProcessEnv = {}, through: string[] = []): Trainer => {
      const [program, ...args] = [...through, process.execPath, 'trainer/main.ts'];
      const child = spawn(program!, args, {
        env: { ...environment, ...own },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const lines: string[] = [];
      const ready = Promise.withResolvers<void>();
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (text: Buffer) => {
          lines.push(text.toString());
          if (process.env.FAULTS_LOG) appendFileSync(process.env.FAULTS_LOG, text);
          if (text.includes('ready to train')) ready.resolve();
        });
      }
      const ended = once(child, 'exit').then(() => {
        trainers.delete(one);
        return Date.now();
      });
      const one: Trainer = { process: child, pid: child.pid!, lines, ready: ready.promise, ended };
      trainers.add(one);
      return one;
    };
    return {
      local,
      postgres,
      environment,
      aws,
      sqs,
      bucket,
      proxies,
      trainer,
      trainers,
      crashPostgres: async () => {
        // SIGQUIT is Postgres's word for an immediate shutdown: no checkpoint, no goodbye.
        process.kill(server.pid, 'SIGQUIT');
        await until(async () => !alive(server.pid), 20);
        server = await startPostgres({ folder, port: postgresPort });
      },
      stop: () => opened.disposeAsync(),
    };
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

/** Whether a process lives; one that ended and was not fetched yet does not. */
export function alive(pid: number): boolean {
  try {
    return !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** The processes that `pid` started. */
export function childrenOf(pid: number): number[] {
  try {
    return execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
      .trim()
      .split(/\s+/)
      .map(Number);
  } catch {
    return [];
  }
}

/** The Python child of a trainer that trains, if it is there. */
export const trainingChildOf = (pid: number): number | undefined =>
  childrenOf(pid).find(
    (child) => alive(child) && readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('--role\0train'),
  );

/** The living trainer that logged that it took this run; this attempt of it, if one is given. */
export const workerOf = ({ trainers }: System, run: string, attempt?: number): Trainer | undefined =>
  [...trainers].find(({ lines }) =>
    lines.some((line) => line.includes(attempt ? `"run":"${run}","attempt":${attempt},` : run)),
  );

/** Asks every 50 ms until it holds. @throws Error when it does not within `seconds`. */
export async function until(holds: () => boolean | Promise<boolean>, seconds: number, what = 'it'): Promise<number> {
  const began = performance.now();
  while (!(await holds())) {
    if (performance.now() - began > seconds * 1000) throw new Error(`Not so within ${seconds} s: ${what}.`);
    await wait(0.05);
  }
  return (performance.now() - began) / 1000;
}

export const wait = (seconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

let drawn: Promise<Record<string, File[]>> | undefined;

/** A project of two classes with so many pictures each, uploaded. */
export async function createProject(
  system: System,
  { pictures = 4, name = 'Faults', cookie }: { pictures?: number; name?: string; cookie?: string } = {},
): Promise<Learner> {
  drawn ??= drawAll();
  const files = await drawn;
  const learner = await createLearner(system.local.studioUrl, name, [...kinds], cookie);
  await Promise.all(
    kinds.map((kind) =>
      learner.upload(
        kind,
        Array.from({ length: pictures }, (_, one) => files[kind]![one % 12]!),
      ),
    ),
  );
  return learner;
}

async function drawAll(): Promise<Record<string, File[]>> {
  const of = async (kind: (typeof kinds)[number]): Promise<[string, File[]]> => {
    const each = Array.from({ length: 12 }, async (_, seed) => ({
      name: `${kind} ${seed}.jpg`,
      type: 'image/jpeg',
      data: await draw(kind, seed, { width: 64, height: 64 }),
    }));
    return [kind, await Promise.all(each)];
  };
  return Object.fromEntries(await Promise.all(kinds.map(of)));
}
