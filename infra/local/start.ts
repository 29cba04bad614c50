/** All of AI Teacher on one machine: the embedded parts, then the very programs that the cluster runs. */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { awsProgram, untilAwsAnswers } from './aws.ts';
import { composeEnvironment, embedded, readSecrets, withPort } from './environment.ts';
import { choosePorts } from './ports.ts';
import { startPostgres } from './postgres.ts';
import { createRegister } from './processes.ts';
import { type Program, runOnce, type Supervised, supervise } from './supervise.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Local {
  studioUrl: string;
  exportUrl: string;
  predictUrl: string;
  /** What the programs got. */
  environment: NodeJS.ProcessEnv;
  processes: { studio: Supervised; export: Supervised; predict: Supervised; trainer: Supervised; aws?: Supervised };
  /** Runs maintain now, to its end. */
  maintain: () => Promise<void>;
  /** In order: the programs, then what they need. */
  stop: () => Promise<void>;
}

interface Options {
  /** Folder of everything that is kept. */
  data: string;
  /** The studio's; the others follow. 0: five that are free. */
  port: number;
  /** In place of this process's own. */
  environment?: NodeJS.ProcessEnv;
  /** What a person is told, a line at a time. */
  tell?: (line: string) => void;
}

/** What the steps of a start share. */
interface Start {
  data: string;
  given: NodeJS.ProcessEnv;
  ports: Awaited<ReturnType<typeof choosePorts>>;
  supervising: { register: ReturnType<typeof createRegister>; logs: string; tell: (line: string) => void };
  /** What opens registers its closer here; closing goes last-first. */
  opened: AsyncDisposableStack;
}

/**
 * Starts everything and resolves when all of it answers.
 *
 * @throws Error with one line that says what is in the way: a folder in use, a port that is taken, a part that does not start.
 */
export async function startLocal({
  data: folder,
  port,
  environment: given = process.env,
  tell = () => {},
}: Options): Promise<Local> {
  const data = resolve(folder);
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const register = await takeFolder(data, tell);
  const opened = new AsyncDisposableStack();
  opened.defer(() => register.remove('supervisor'));
  try {
    const supervising = { register, logs: join(data, 'logs'), tell };
    return await startAll({ data, given, ports: await choosePorts(port), supervising, opened });
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

/** Claims the folder for this process, and ends what a start that was killed left running on it. */
async function takeFolder(data: string, tell: (line: string) => void) {
  const register = createRegister(join(data, 'processes'));
  const running = register.find('supervisor');
  if (running && running !== process.pid) {
    throw new Error(
      `AI Teacher is running on ${data} already (process ${running}). Stop that one, or set AI_TEACHER_DATA to another folder.`,
    );
  }
  register.remove('supervisor');
  const left = await register.endAll();
  if (left.length > 0) tell(`Ended what an earlier start left behind: ${left.join(', ')}.`);
  register.add('supervisor', process.pid);
  return register;
}

async function startAll(start: Start): Promise<Local> {
  const { data, given, ports, supervising, opened } = start;
  const secrets = readSecrets(data);
  const compose = (databaseUrl: string) => composeEnvironment({ given, ports, data, root, secrets, databaseUrl });
  const [databaseUrl, aws] = await Promise.all([openPostgres(start), openAws(start, compose(''))]);
  const environment = compose(databaseUrl);
  const program = (name: string, programPort = 0): Program => ({
    name,
    command: process.execPath,
    args: [join(root, name === 'trainer' ? 'trainer/main.ts' : `functions/${name}/main.ts`)],
    environment: withPort(environment, programPort),
  });
  await Promise.all(['migrate', 'provision'].map((name) => runOnce(program(name), supervising)));

  const processes = {
    studio: supervise(program('studio', ports.studio), supervising),
    export: supervise(program('export', ports.export), supervising),
    predict: supervise(program('predict', ports.predict), supervising),
    trainer: supervise(program('trainer'), supervising),
  };
  opened.defer(async () => {
    await Promise.all(Object.values(processes).map((supervised) => supervised.stop()));
  });
  const maintain = () => runOnce(program('maintain'), supervising);
  repeat(start, maintain);

  const urls = {
    studioUrl: `http://localhost:${ports.studio}`,
    exportUrl: `http://localhost:${ports.export}`,
    predictUrl: `http://localhost:${ports.predict}`,
  };
  await Promise.all(Object.values(urls).map(untilItAnswers));
  return {
    ...urls,
    environment,
    processes: { ...processes, ...(aws && { aws }) },
    maintain,
    stop: () => opened.disposeAsync(),
  };
}

/** Starts the embedded Postgres where none is given. @returns the URL of the database. */
async function openPostgres({ data, given, ports, supervising, opened }: Start): Promise<string> {
  if (!embedded(given).postgres) return given.DATABASE_URL!;
  const postgres = await startPostgres({ folder: join(data, 'postgres'), port: ports.postgres });
  supervising.register.add('postgres', postgres.pid);
  opened.defer(async () => {
    await postgres.stop();
    supervising.register.remove('postgres');
  });
  return postgres.url;
}

/** Starts the embedded S3 and SQS where one of them is not given. */
async function openAws(
  { data, given, ports, supervising, opened }: Start,
  environment: NodeJS.ProcessEnv,
): Promise<Supervised | undefined> {
  const needs = embedded(given);
  if (!needs.s3 && !needs.sqs) return undefined;
  const folder = join(data, 'aws');
  const { url, program } = awsProgram({ python: environment.PYTHON!, folder, port: ports.aws, environment });
  const supervised = supervise(program, supervising);
  opened.defer(() => supervised.stop());
  await untilAwsAnswers(url, supervised);
  return supervised;
}

/** Runs maintain every MAINTAIN_SECONDS, as the CronJob does in the cluster. */
function repeat({ given, supervising, opened }: Start, maintain: () => Promise<void>): void {
  const milliseconds = Number(given.MAINTAIN_SECONDS || 300) * 1000;
  const timer = setInterval(() => void maintain().catch((error) => supervising.tell(error.message)), milliseconds);
  opened.defer(() => clearInterval(timer));
}

async function untilItAnswers(url: string): Promise<void> {
  for (const until = Date.now() + 60_000; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const answers = await fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (answers) return;
    if (Date.now() > until) throw new Error(`${url} did not answer within 60 s.`);
  }
}
