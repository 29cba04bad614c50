/** Processes by pid and the time they were started, so that a pid which another program got since is told apart. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** When the process was started, in the words of `ps`; null when there is none. */
export function startTime(pid: number): string | null {
  try {
    const [state, ...start] = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .trim()
      .split(/\s+/);
    return state?.startsWith('Z') ? null : start.join(' ') || null;
  } catch {
    return null;
  }
}

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Ends a process: asks with `signal`, insists with SIGKILL after `seconds`. */
export async function end(pid: number, signal: NodeJS.Signals, seconds: number): Promise<void> {
  const started = startTime(pid);
  if (!started) return;
  const send = (name: NodeJS.Signals) => {
    try {
      process.kill(pid, name);
    } catch {
      // Gone between the look and the signal.
    }
  };
  send(signal);
  for (const until = Date.now() + seconds * 1000; startTime(pid) === started; await wait(50)) {
    if (Date.now() > until) send('SIGKILL');
  }
}

/** Remembers which processes this data folder has, in a file for each: a hard kill leaves them to be found. */
export function createRegister(folder: string) {
  mkdirSync(folder, { recursive: true });
  const fileOf = (name: string) => join(folder, name);
  const read = (name: string): number | null => {
    try {
      const { pid, started } = JSON.parse(readFileSync(fileOf(name), 'utf8'));
      return startTime(pid) === started ? pid : null;
    } catch {
      return null;
    }
  };
  return {
    add: (name: string, pid: number) => writeFileSync(fileOf(name), JSON.stringify({ pid, started: startTime(pid) })),
    remove: (name: string) => rmSync(fileOf(name), { force: true }),
    /** The pid of the process that was registered under `name`, if it is still that one. */
    find: read,
    /** Ends what a supervisor left behind that was killed hard. */
    endAll: async (): Promise<string[]> => {
      const left = readdirSync(folder).flatMap((name) => {
        const pid = read(name);
        if (pid === null) rmSync(fileOf(name), { force: true });
        return pid === null ? [] : [{ name, pid }];
      });
      await Promise.all(
        left.map(async ({ name, pid }) => {
          // Postgres's word for a fast shutdown; the others drain on SIGTERM.
          await end(pid, name === 'postgres' ? 'SIGINT' : 'SIGTERM', 30);
          rmSync(fileOf(name), { force: true });
        }),
      );
      return left.map(({ name }) => name);
    },
  };
}

export type Register = ReturnType<typeof createRegister>;
