/** Keeps a program running: one that dies is started again, after a pause that grows while it keeps dying. */
import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { end, type Register } from './processes.ts';

export interface Program {
  name: string;
  command: string;
  args: string[];
  environment: NodeJS.ProcessEnv;
}

export interface Supervised {
  /** Of the process that runs now; undefined between two. */
  readonly pid: number | undefined;
  kill: (signal: NodeJS.Signals) => void;
  stop: () => Promise<void>;
}

interface Supervising {
  register: Register;
  /** Folder of the programs' logs. */
  logs: string;
  /** What a person is told, a line at a time. */
  tell: (line: string) => void;
}

const longestPause = 30;
/** A program that ran so long did start: what ends it then is a new trouble. */
const settledSeconds = 60;
const graceSeconds = 30;

/** Writes a program's lines to its log, and tells those that are a warning or worse. */
export function follow(
  child: ReturnType<typeof spawn>,
  name: string,
  { logs, tell }: Omit<Supervising, 'register'>,
): void {
  mkdirSync(logs, { recursive: true });
  const file = join(logs, `${name}.log`);
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    createInterface({ input: stream }).on('line', (line) => {
      appendFileSync(file, `${line}\n`);
      const grave = explain(line);
      if (grave) tell(`${name}: ${grave}`);
    });
  }
}

/** The sentence of a JSON log line that is a warning or worse, and any line that is not JSON of a log. */
function explain(line: string): string | null {
  try {
    const { level, msg, err } = JSON.parse(line) as { level: number; msg: string; err?: { message: string } };
    return level >= 40 ? [msg, err?.message].filter(Boolean).join(': ') : null;
  } catch {
    return null;
  }
}

export function supervise(program: Program, supervising: Supervising): Supervised {
  const { name, command, args, environment } = program;
  const { register, tell } = supervising;
  let child: ReturnType<typeof spawn> | undefined;
  let stopped = false;
  let pause = 0.25;
  let again: NodeJS.Timeout | undefined;

  function start(): void {
    const startedAt = Date.now();
    const started = spawn(command, args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    child = started;
    if (started.pid) register.add(name, started.pid);
    follow(started, name, supervising);
    let over = false;
    const ended = (how: string) => {
      if (over) return;
      over = true;
      child = undefined;
      if (stopped) return;
      if (Date.now() - startedAt > settledSeconds * 1000) pause = 0.25;
      tell(
        `${name} ended (${how}); starting it again in ${pause} s. Its log: ${join(supervising.logs, `${name}.log`)}`,
      );
      again = setTimeout(start, pause * 1000);
      pause = Math.min(longestPause, pause * 2);
    };
    started.on('exit', (code, signal) => ended(signal ?? `exit ${code}`));
    started.on('error', (error) => ended(error.message));
  }

  start();
  return {
    get pid() {
      return child?.pid;
    },
    kill: (signal) => child?.kill(signal),
    stop: async () => {
      stopped = true;
      clearTimeout(again);
      if (child?.pid) await end(child.pid, 'SIGTERM', graceSeconds);
      register.remove(name);
    },
  };
}

/** Runs a program to its end. @throws Error with the end of what it wrote when it fails. */
export function runOnce(program: Program, supervising: Omit<Supervising, 'register'>): Promise<void> {
  return new Promise((resolve, reject) => {
    const { name, command, args, environment } = program;
    const child = spawn(command, args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    const tail: string[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => tail.push(data.toString()));
    }
    follow(child, name, supervising);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) return resolve();
      reject(new Error(`${name} failed (${signal ?? `exit ${code}`}): ${tail.join('').trim().slice(-2000)}`));
    });
  });
}
