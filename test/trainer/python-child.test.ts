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
const openChild = () => {
  const child = createPythonChild({
    python: 'python3',
    root,
    role: 'ingest',
    threads: 1,
    cache: '/tmp',
    device: 'cpu',
    log,
  });
  open.push(child);
  return child;
};
const pidOf = async (child: PythonChild) => Number((await child.hello()).versions.pid);
/** One that has ended and was not fetched yet by whoever inherited it is gone, too. */
const isAlive = (pid: number) =>
  /^[^Z\s]/.test(spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout);

afterEach(async () => {
  for (const child of open.splice(0)) await child.close();
  delete process.env.CHILD_DIES_AT_START;
});

test('one child answers many requests, with the events of each', async () => {
  const child = openChild();
  const events: unknown[] = [];
  const onEvent = (event: unknown) => events.push(event);
  const answers = await Promise.all([1, 2, 3].map((n) => child.request('echo', { n }, { onEvent })));
  expect(answers).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  expect(events).toEqual([{ percent: 50 }, { percent: 50 }, { percent: 50 }]);
});

test('a refusal carries the child’s code', async () => {
  await expect(openChild().request('refuse', {})).rejects.toMatchObject({ code: 'bad-input' });
  await expect(openChild().request('refuse', {})).rejects.toBeInstanceOf(ChildRefusal);
});

test('a crash rejects what is under way with the tail of stderr, and the next request has a new child', async () => {
  const child = openChild();
  const first = await pidOf(child);
  const crash = child.request('crash', {});
  await expect(crash).rejects.toBeInstanceOf(ChildDied);
  await expect(crash).rejects.toThrow(/SIGSEGV.*Segmentation fault in the decoder/s);
  expect(await child.request('echo', { again: true })).toEqual({ again: true });
  expect(await pidOf(child)).not.toBe(first);
});

test('a child that does not start is no request’s fault', async () => {
  process.env.CHILD_DIES_AT_START = '1';
  const failure = openChild().request('echo', {});
  await expect(failure).rejects.toThrow('no such network');
  await expect(failure).rejects.not.toBeInstanceOf(ChildDied);
});

test('an aborted request ends the child that computes it', async () => {
  const child = openChild();
  const pid = await pidOf(child);
  const stop = new AbortController();
  const hang = child.request('hang', {}, { signal: stop.signal, onEvent: () => stop.abort(new Error('cancelled')) });
  await expect(hang).rejects.toThrow('cancelled');
  await expect.poll(() => isAlive(pid)).toBe(false);
});

test('what is asked right after that has a child of its own', async () => {
  const child = openChild();
  const stop = new AbortController();
  const hang = child.request('hang', {}, { signal: stop.signal, onEvent: () => stop.abort(new Error('cancelled')) });
  await expect(hang).rejects.toThrow('cancelled');
  await new Promise((resolve) => setImmediate(resolve));
  expect(await child.request('echo', { next: true })).toEqual({ next: true });
});

test('a child that has answered while this process stood still is not ended', async () => {
  const child = openChild();
  const pid = await pidOf(child);
  const stop = new AbortController();
  const events: unknown[] = [];
  const late = child.request('late', {}, { signal: stop.signal, onEvent: (event) => events.push(event) });
  setTimeout(() => {
    for (const until = Date.now() + 500; Date.now() < until; );
    stop.abort(new Error('cancelled'));
  });
  await expect(late).rejects.toThrow('cancelled');
  expect(await child.request('echo', { next: true })).toEqual({ next: true });
  expect(await pidOf(child)).toBe(pid);
  expect(events).toEqual([]);
});

test('a picture that crashes its decoder is rejected, those beside it are not', async () => {
  const pictures = createPictures(openChild(), { pixels: 1e6, log });
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
    const child = createPythonChild({ python: 'python3', root: ${JSON.stringify(root)}, role: 'train', threads: 1, cache: '/tmp', device: 'cpu', log });
    console.log((await child.hello()).versions.pid);`;
  const parent = spawn('node', ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: parent.stdout }), 'line');
  const pid = Number(line);
  expect(isAlive(pid)).toBe(true);
  parent.kill('SIGKILL');
  await expect.poll(() => isAlive(pid), { timeout: 2000 }).toBe(false);
});

test.each([
  ['a bare NaN', 'nan'],
  ['no JSON at all', 'garbage'],
  ['JSON that is no object', 'number'],
])('an answer that is %s fails its own request and nothing else', async (_, method) => {
  const child = openChild();
  const [wrong, right] = await Promise.allSettled([child.request(method, {}), child.request('echo', { n: 1 })]);
  expect(wrong).toMatchObject({ status: 'rejected', reason: { code: 'failed' } });
  expect(right).toMatchObject({ status: 'fulfilled', value: { n: 1 } });
});

test('a callback that fails on an event fails its own request', async () => {
  const child = openChild();
  const onEvent = () => {
    throw new Error('unexpected event');
  };
  await expect(child.request('echo', {}, { onEvent })).rejects.toThrow('unexpected event');
  expect(await child.request('echo', { next: true })).toEqual({ next: true });
});

test('a child that dies slowly takes only its own requests with it', async () => {
  const child = openChild();
  const pid = await pidOf(child);
  const stop = new AbortController();
  const onEvent = () => stop.abort(new Error('cancelled'));
  const hang = child.request('hang', {}, { signal: stop.signal, onEvent });
  const behind = child.request('echo', {});
  behind.catch(() => {});
  await expect(hang).rejects.toThrow('cancelled');
  await expect(behind).rejects.toBeInstanceOf(ChildDied);
  // Asked while the first child may still be ending.
  const answers = await Promise.all([1, 2, 3].map((n) => child.request('echo', { n })));
  expect(answers).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  expect(await pidOf(child)).not.toBe(pid);
});

test('a picture that crashes its decoder is not blamed on another call that waits', async () => {
  const pictures = createPictures(openChild(), { pixels: 1e6, log });
  const [first, second] = await Promise.all([
    pictures.embed('any', [{ path: 'poison' }, { path: 'a' }]),
    pictures.embed('any', [{ path: 'b' }, { path: 'c' }]),
  ]);
  expect(first.map((result) => 'reason' in result)).toEqual([true, false]);
  expect(second.map((result) => 'reason' in result)).toEqual([false, false]);
});
