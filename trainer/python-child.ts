/**
 * Supervises one Python child (`python -m trainer.python.main`, which describes the protocol): JSON lines in, JSON lines out,
 * judged by its exit. The child ends when its stdin closes, so it never outlives this process, however that ends.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '#shared/log.ts';

/** The child refused a request, or answered it in a way that cannot be read; `code` says why. */
export class ChildRefusal extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * The child ended in the middle of a request; the last lines of its stderr are in the message. A child that did not even start
 * rejects with a plain Error: no request is to blame for that.
 */
export class ChildDied extends Error {}

export interface Hello {
  device: 'cpu' | 'cuda';
  backbones: string[];
  /** The licence of each backbone's weights. */
  licenses: Record<string, string>;
  versions: Record<string, string>;
}

export interface PythonChild {
  /** The first line of the child that runs now. */
  hello: () => Promise<Hello>;
  /**
   * Sends a request; requests are worked one after the other. An aborted `signal` rejects with its reason and ends the child,
   * for there is no other way to stop what it computes; the next request starts a new one.
   */
  request: <Event, Result>(
    method: string,
    params: unknown,
    options?: { onEvent?: (event: Event) => void; signal?: AbortSignal },
  ) => Promise<Result>;
  close: () => Promise<void>;
}

export interface ChildOptions {
  python: string;
  /** Working directory: the folder that holds `trainer/`. */
  root: string;
  role: 'ingest' | 'train';
  threads: number;
  /** Prepared before the child greets; the first is the default. Without them the bundled ones are. */
  backbones?: readonly string[];
  /** Folder of prepared backbones. */
  cache: string;
  device: string;
  /** Share of a GPU's memory that the child may take, from 0 to 1. */
  gpuMemory?: number;
  log: Log;
}

/** Seconds between two starts of a child that dies young. */
const restartSeconds = 1;
/** Milliseconds that a child has to end by itself once its stdin is closed. */
const closePatience = 3000;

export function createPythonChild(options: ChildOptions): PythonChild {
  const { role } = options;
  let running: Child | undefined;
  let requests = 0;
  let lastStart = 0;
  let closed = false;

  /** Gives the child that runs, started where there is none. */
  async function ensureChild(): Promise<Child> {
    while (!running) {
      const wait = restartSeconds * 1000 - (Date.now() - lastStart);
      if (wait > 0) await sleep(wait);
      if (closed) throw new ChildDied(`The Python child (${role}) is closed.`);
      if (running) break;
      lastStart = Date.now();
      const child = startChild(options, (how, stderr) => {
        forget(child);
        if (!closed) {
          options.log.warn({ role, how, stderr }, 'the Python child ended; the next request starts it again');
        }
      });
      running = child;
    }
    return running;
  }

  /** A child that ends, or is about to, gets no further request. */
  function forget(child: Child): void {
    if (running === child) running = undefined;
  }

  return {
    hello: async () => (await ensureChild()).hello,
    request: async (method, params, { onEvent = () => {}, signal } = {}) => {
      const child = await ensureChild();
      signal?.throwIfAborted();
      const { result, cancel } = child.send(++requests, method, params, onEvent);
      const stop = () => cancel(signal!.reason, () => forget(child));
      signal?.addEventListener('abort', stop, { once: true });
      try {
        return await result;
      } finally {
        signal?.removeEventListener('abort', stop);
      }
    },
    close: async () => {
      closed = true;
      await running?.close();
    },
  };
}

interface Pending {
  onEvent: (event: never) => void;
  settle: PromiseWithResolvers<never>;
}

/** One process with the requests that wait for its answer: what it does wrong concerns those, and no other child's. */
interface Child {
  hello: Promise<Hello>;
  send: (
    id: number,
    method: string,
    params: unknown,
    onEvent: (event: never) => void,
  ) => {
    result: Promise<never>;
    /** Rejects the request with `reason` and kills the process, unless the answer is there already. */
    cancel: (reason: unknown, onKill: () => void) => void;
  };
  close: () => Promise<void>;
}

function startChild(options: ChildOptions, onEnd: (how: string, stderr: string[]) => void): Child {
  const { python, role, log } = options;
  const process = spawn(python, argumentsOf(options), { cwd: options.root, stdio: 'pipe' });
  const pending = new Map<number, Pending>();
  const hello = Promise.withResolvers<Hello>();
  // Whoever asks hears of it; nobody has to.
  hello.promise.catch(() => {});
  let greeted = false;
  const stderr = keepLastLines(process, (line) => log.debug({ role }, line));
  createInterface({ input: process.stdout }).on('line', (line) => {
    const answer = parseAnswer(line, pending);
    if (answer?.ready) {
      greeted = true;
      hello.resolve(answer.ready);
    } else if (answer) settleRequest(answer, pending);
    else log.warn({ role, line: line.slice(0, 500) }, 'the Python child wrote a line that answers no request');
  });
  // Writing to a child that is gone fails here; its end is reported by the exit.
  process.stdin.on('error', () => {});
  const ended = new Promise<void>((resolve) => {
    const end = (how: string) => {
      const message = `The Python child (${role}) ended: ${how}. ${stderr.join('\n')}`.trim();
      const error = greeted ? new ChildDied(message) : new Error(message);
      hello.reject(error);
      for (const { settle } of pending.values()) settle.reject(error);
      pending.clear();
      onEnd(how, stderr);
      resolve();
    };
    process.on('error', (error) => end(`${python} could not be started: ${error.message}`));
    process.on('close', (code, signal) => end(signal ?? `exit ${code}`));
  });
  return {
    hello: hello.promise,
    send: (id, method, params, onEvent) => {
      const settle = Promise.withResolvers<never>();
      pending.set(id, { onEvent, settle });
      process.stdin.write(`${JSON.stringify({ id, method, params })}\n`);
      return {
        result: settle.promise,
        cancel: (reason, onKill) => cancelRequest(process, pending, id, reason, onKill),
      };
    },
    close: async () => {
      process.stdin.end();
      const patience = setTimeout(() => process.kill('SIGKILL'), closePatience);
      await ended;
      clearTimeout(patience);
    },
  };
}

function argumentsOf({ role, threads, cache, device, gpuMemory = 1, backbones }: ChildOptions): string[] {
  const settings = ['--role', role, '--threads', String(threads), '--cache', cache, '--device', device];
  settings.push('--gpu-memory', String(gpuMemory));
  if (backbones) settings.push('--backbones', backbones.join(','));
  return ['-m', 'trainer.python.main', ...settings];
}

function keepLastLines({ stderr }: ChildProcessWithoutNullStreams, onLine: (line: string) => void): string[] {
  const lines: string[] = [];
  createInterface({ input: stderr }).on('line', (line) => {
    lines.push(line);
    if (lines.length > 20) lines.shift();
    onLine(line);
  });
  return lines;
}

interface Answer {
  id?: number;
  ready?: Hello;
  event?: unknown;
  error?: { code: string; message: string };
  result?: unknown;
}

/**
 * The answer of a line. One that is not JSON, such as a bare NaN, is turned into an error of the request that it names, or of
 * the oldest one, for requests are worked one after the other. Null where no request waits.
 */
function parseAnswer(line: string, pending: Map<number, Pending>): Answer | null {
  try {
    const answer = JSON.parse(line);
    if (answer !== null && typeof answer === 'object') return answer;
  } catch {}
  const [oldest] = pending.keys();
  const named = Number(/"id":\s*(\d+)/.exec(line)?.[1] ?? Number.NaN);
  const id = pending.has(named) ? named : oldest;
  if (id === undefined) return null;
  return { id, error: { code: 'failed', message: `Expected an answer in JSON, got: ${line.slice(0, 200)}` } };
}

/** A late answer, of a request that was cancelled, settles nothing. */
function settleRequest(answer: Answer, pending: Map<number, Pending>): void {
  const request = pending.get(answer.id!);
  if (!request) return;
  const { onEvent, settle } = request;
  if ('event' in answer) {
    try {
      onEvent(answer.event as never);
    } catch (error) {
      settle.reject(error);
    }
    return;
  }
  pending.delete(answer.id!);
  if (answer.error) settle.reject(new ChildRefusal(answer.error.code, answer.error.message));
  else settle.resolve(answer.result as never);
}

function cancelRequest(
  process: ChildProcessWithoutNullStreams,
  pending: Map<number, Pending>,
  id: number,
  reason: unknown,
  onKill: () => void,
): void {
  const request = pending.get(id);
  if (!request) return;
  request.settle.reject(reason);
  pending.set(id, { onEvent: () => {}, settle: request.settle });
  // Where this process stood still, the answer may lie there already, and nothing has to be stopped.
  setImmediate(() => {
    if (!pending.delete(id)) return;
    onKill();
    process.kill('SIGKILL');
  });
}
