/**
 * Supervises one Python child (`python -m trainer.python.serve`, which describes the protocol): JSON lines in, JSON lines out,
 * judged by its exit. The child ends when its stdin closes, so it never outlives this process, however that ends.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Log } from '#shared/log.ts';
import { sleep } from './consume.ts';

/** The child said no: `code` tells why. */
export class ChildRefusal extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * The child ended in the middle of a request; what it last wrote to stderr is in the message. A child that did not even start
 * rejects with a plain Error: no request is to blame for that.
 */
export class ChildDied extends Error {}

export interface Hello {
  device: 'cpu' | 'cuda';
  backbones: string[];
  /** Of the weights of each. */
  licenses: Record<string, string>;
  versions: Record<string, string>;
}

export interface PythonChild {
  /** The first line of the child that runs now. */
  hello: () => Promise<Hello>;
  /**
   * One request; requests are worked one after the other. An aborted `signal` rejects with its reason and ends the child, for
   * there is no other way to stop what it computes; the next request starts a new one.
   */
  request: <Event, Result>(
    method: string,
    params: unknown,
    options?: { onEvent?: (event: Event) => void; signal?: AbortSignal },
  ) => Promise<Result>;
  close: () => Promise<void>;
}

interface Child {
  process: ChildProcessWithoutNullStreams;
  hello: PromiseWithResolvers<Hello>;
  ended: Promise<void>;
}

interface Pending {
  onEvent: (event: never) => void;
  settle: PromiseWithResolvers<never>;
}

interface Options {
  python: string;
  /** Working directory: the folder that holds `trainer/`. */
  root: string;
  role: 'ingest' | 'train';
  threads: number;
  /** Made ready before it greets; the first is the default. Those that are bundled, where none are named. */
  backbones?: readonly string[];
  /** Folder of prepared backbones. */
  cache: string;
  device: string;
  /** Share of a GPU's memory that the child may take, from 0 to 1. */
  gpuMemory?: number;
  log: Log;
}

export function createPythonChild({
  python,
  root,
  role,
  threads,
  cache,
  device,
  backbones,
  gpuMemory = 1,
  log,
}: Options): PythonChild {
  const pending = new Map<number, Pending>();
  let requests = 0;
  let child: Child | undefined;
  let closed = false;

  function open(): Child {
    const settings = ['--role', role, '--threads', String(threads), '--cache', cache, '--device', device];
    settings.push('--gpu-memory', String(gpuMemory));
    if (backbones) settings.push('--backbones', backbones.join(','));
    const process = spawn(python, ['-m', 'trainer.python.serve', ...settings], { cwd: root, stdio: 'pipe' });
    const hello = Promise.withResolvers<Hello>();
    const stderr: string[] = [];
    createInterface({ input: process.stderr }).on('line', (line) => {
      stderr.push(line);
      if (stderr.length > 20) stderr.shift();
      log.debug({ role }, line);
    });
    let greeted = false;
    void hello.promise.then(
      () => {
        greeted = true;
      },
      () => {},
    );
    createInterface({ input: process.stdout }).on('line', (line) => take(line, hello));
    // Writing to a child that is gone fails here; its end is what is told.
    process.stdin.on('error', () => {});
    const ended = new Promise<void>((resolve) => {
      const end = (how: string) => {
        if (child?.process === process) child = undefined;
        const message = `The Python child (${role}) ended: ${how}. ${stderr.join('\n')}`.trim();
        const error = greeted ? new ChildDied(message) : new Error(message);
        hello.reject(error);
        for (const { settle } of pending.values()) settle.reject(error);
        pending.clear();
        if (!closed) log.warn({ role, how, stderr }, 'the Python child ended; the next request starts it again');
        resolve();
      };
      process.on('error', (error) => end(`${python} could not be started: ${error.message}`));
      process.on('close', (code, signal) => end(signal ?? `exit ${code}`));
    });
    return { process, hello, ended };
  }

  function take(line: string, hello: PromiseWithResolvers<Hello>): void {
    const said = JSON.parse(line);
    const request = pending.get(said.id);
    if (said.ready) hello.resolve(said.ready);
    else if ('event' in said) request?.onEvent(said.event as never);
    else {
      pending.delete(said.id);
      if ('error' in said) request?.settle.reject(new ChildRefusal(said.error.code, said.error.message));
      else request?.settle.resolve(said.result as never);
    }
  }

  /** Starts the child where there is none; one that died young is not started again at once. */
  let lastStart = 0;
  async function alive(): Promise<Child> {
    while (!child) {
      const since = (Date.now() - lastStart) / 1000;
      if (since < 1) await sleep(1 - since);
      if (closed) throw new ChildDied(`The Python child (${role}) is closed.`);
      if (child) break;
      lastStart = Date.now();
      child = open();
    }
    return child;
  }

  return {
    hello: async () => (await alive()).hello.promise,
    request: async (method, params, { onEvent = () => {}, signal } = {}) => {
      const { process } = await alive();
      signal?.throwIfAborted();
      const id = ++requests;
      const settle = Promise.withResolvers<never>();
      const stop = () => {
        settle.reject(signal!.reason);
        pending.set(id, { onEvent: () => {}, settle });
        // Where this process stood still, the answer may lie there already, and nothing has to be stopped.
        setImmediate(() => {
          if (!pending.delete(id)) return;
          // It takes a moment to end, and is not to be given what comes next.
          if (child?.process === process) child = undefined;
          process.kill('SIGKILL');
        });
      };
      signal?.addEventListener('abort', stop, { once: true });
      pending.set(id, { onEvent, settle });
      process.stdin.write(`${JSON.stringify({ id, method, params })}\n`);
      try {
        return await settle.promise;
      } finally {
        signal?.removeEventListener('abort', stop);
      }
    },
    close: async () => {
      closed = true;
      const open = child;
      if (!open) return;
      open.process.stdin.end();
      const patience = setTimeout(() => open.process.kill('SIGKILL'), 3000);
      await open.ended;
      clearTimeout(patience);
    },
  };
}
