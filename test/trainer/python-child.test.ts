import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { createPictures } from '../../trainer/pictures.ts';
import { ChildDied, ChildRefusal, createPythonChild, type PythonChild } from '../../trainer/python-child.ts';

const root = fileURLToPath(new URL('../fixtures/child', import.meta.url));
const log = pino({ level: 'silent' });
const open: PythonChild[] = [];
const child = () => {
  const torch = createPythonChild({
    python: 'python3',
    root,
    role: 'ingest',
    threads: 1,
    cache: '/tmp',
    device: 'cpu',
    log,
  });
  open.push(torch);
  return torch;
};
const pidOf = async (torch: PythonChild) => Number((await torch.hello()).versions.pid);
/** One that has ended and was not fetched yet by whoever inherited it is gone, too. */
const isAlive = (pid: number) =>
  /^[^Z\s]/.test(spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout);

afterEach(async () => {
  for (const torch of open.splice(0)) await torch.close();
  delete process.env.CHILD_DIES_AT_START;
});

test('one child answers many requests, with the events of each', async () => {
  const torch = child();
  const events: unknown[] = [];
  const onEvent = (event: unknown) => events.push(event);
  const answers = await Promise.all([1, 2, 3].map((n) => torch.request('echo', { n }, { onEvent })));
  expect(answers).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  expect(events).toEqual([{ percent: 50 }, { percent: 50 }, { percent: 50 }]);
});

test('a refusal carries the child’s code', async () => {
  await expect(child().request('refuse', {})).rejects.toMatchObject({ code: 'bad-input' });
  await expect(child().request('refuse', {})).rejects.toBeInstanceOf(ChildRefusal);
});

test('a crash rejects what is under way with the tail of stderr, and the next request has a new child', async () => {
  const torch = child();
  const first = await pidOf(torch);
  const crash = torch.request('crash', {});
  await expect(crash).rejects.toBeInstanceOf(ChildDied);
  await expect(crash).rejects.toThrow(/SIGSEGV.*Segmentation fault in the decoder/s);
  expect(await torch.request('echo', { again: true })).toEqual({ again: true });
  expect(await pidOf(torch)).not.toBe(first);
});

test('a child that does not start is no request’s fault', async () => {
  process.env.CHILD_DIES_AT_START = '1';
  const failure = child().request('echo', {});
  await expect(failure).rejects.toThrow('no such network');
  await expect(failure).rejects.not.toBeInstanceOf(ChildDied);
});

test('an aborted request ends the child that computes it', async () => {
  const torch = child();
  const pid = await pidOf(torch);
  const stop = new AbortController();
  const hang = torch.request('hang', {}, { signal: stop.signal, onEvent: () => stop.abort(new Error('cancelled')) });
  await expect(hang).rejects.toThrow('cancelled');
  await expect.poll(() => isAlive(pid)).toBe(false);
});

test('what is asked right after that has a child of its own', async () => {
  const torch = child();
  const stop = new AbortController();
  const hang = torch.request('hang', {}, { signal: stop.signal, onEvent: () => stop.abort(new Error('cancelled')) });
  await expect(hang).rejects.toThrow('cancelled');
  await new Promise((resolve) => setImmediate(resolve));
  expect(await torch.request('echo', { next: true })).toEqual({ next: true });
});

test('a child that has answered while this process stood still is not ended', async () => {
  const torch = child();
  const pid = await pidOf(torch);
  const stop = new AbortController();
  const events: unknown[] = [];
  const late = torch.request('late', {}, { signal: stop.signal, onEvent: (event) => events.push(event) });
  setTimeout(() => {
    for (const until = Date.now() + 500; Date.now() < until; );
    stop.abort(new Error('cancelled'));
  });
  await expect(late).rejects.toThrow('cancelled');
  expect(await torch.request('echo', { next: true })).toEqual({ next: true });
  expect(await pidOf(torch)).toBe(pid);
  expect(events).toEqual([]);
});

test('a picture that crashes its decoder is rejected, those beside it are not', async () => {
  const pictures = createPictures(child(), { pixels: 1e6, log });
  const results = await pictures.embed('any', [{ path: 'a' }, { path: 'poison' }, { path: 'b' }]);
  expect(results.map((result) => ('reason' in result ? result.reason.code : 'embedded'))).toEqual([
    'embedded',
    'damaged',
    'embedded',
  ]);
});

test('the child ends when its parent is killed hard', async () => {
  const program = `
    import { createPythonChild } from ${JSON.stringify(new URL('../../trainer/python-child.ts', import.meta.url).href)};
    const log = { debug() {}, warn() {} };
    const torch = createPythonChild({ python: 'python3', root: ${JSON.stringify(root)}, role: 'train', threads: 1, cache: '/tmp', device: 'cpu', log });
    console.log((await torch.hello()).versions.pid);`;
  const parent = spawn('node', ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: parent.stdout }), 'line');
  const pid = Number(line);
  expect(isAlive(pid)).toBe(true);
  parent.kill('SIGKILL');
  await expect.poll(() => isAlive(pid), { timeout: 2000 }).toBe(false);
});
