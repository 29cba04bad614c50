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

  const opened = new AsyncDisposableStack();
  opened.defer(() => register.remove('supervisor'));
  try {
    const ports = await choosePorts(port);
    const secrets = readSecrets(data);
    const supervising = { register, logs: join(data, 'logs'), tell };
    const needs = embedded(given);

    const openPostgres = async (): Promise<string> => {
      if (!needs.postgres) return given.DATABASE_URL!;
      const postgres = await startPostgres({ folder: join(data, 'postgres'), port: ports.postgres });
      register.add('postgres', postgres.pid);
      opened.defer(async () => {
        await postgres.stop();
        register.remove('postgres');
      });
      return postgres.url;
    };
    const openAws = async (environment: NodeJS.ProcessEnv): Promise<Supervised | undefined> => {
      if (!needs.s3 && !needs.sqs) return undefined;
      const { url, program } = awsProgram({
        python: environment.PYTHON!,
        folder: join(data, 'aws'),
        port: ports.aws,
        environment,
      });
      const supervised = supervise(program, supervising);
      opened.defer(() => supervised.stop());
      await untilAwsAnswers(url, supervised);
      return supervised;
    };

    const compose = (databaseUrl: string) => composeEnvironment({ given, ports, data, root, secrets, databaseUrl });
    const [databaseUrl, aws] = await Promise.all([openPostgres(), openAws(compose(''))]);
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
      await Promise.all(Object.values(processes).map((one) => one.stop()));
    });
    const maintain = () => runOnce(program('maintain'), supervising);
    const every = Number(given.MAINTAIN_SECONDS || 300) * 1000;
    const timer = setInterval(() => void maintain().catch((error) => tell(error.message)), every);
    opened.defer(() => clearInterval(timer));

    const [studioUrl, exportUrl, predictUrl] = [ports.studio, ports.export, ports.predict].map(
      (own) => `http://localhost:${own}`,
    ) as [string, string, string];
    await Promise.all([studioUrl, exportUrl, predictUrl].map(untilItAnswers));
    return {
      studioUrl,
      exportUrl,
      predictUrl,
      environment,
      processes: { ...processes, ...(aws && { aws }) },
      maintain,
      stop: () => opened.disposeAsync(),
    };
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
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
