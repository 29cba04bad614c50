/**
 * How soon a model is there, from the last upload to `ready`, by all programs on this machine with a warm trainer.
 *
 *     npm run bench -- ready [--data DIR] [--pictures 100] [--more 5] [--rounds 5]
 *
 * `--data` holds a folder of pictures for each of two classes; without it they are drawn. Seconds are medians of the rounds, each
 * a new project; the settle time, which a worker waits for more pictures, is told apart. The physical limit that the whole is
 * compared to is the network alone: so many pictures at the rate of the bare loop (`npm run bench -- learning`).
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Project } from '#shared/words.ts';
import { startLocal } from '../../../infra/local/start.ts';
import { createLearner, type File, type Learner } from '../../support/learner.ts';
import { draw, kinds } from '../../support/pictures.ts';

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    pictures: { type: 'string', default: '100' },
    more: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '5' },
  },
});
const [first, more, rounds] = [options.pictures, options.more, options.rounds].map(Number) as [number, number, number];
const settleSeconds = 3;

type Parts = Record<string, number>;

const classes = await read(options.data, Math.ceil((first + more) / 2));
const data = await mkdtemp(join(tmpdir(), 'ai-teacher-bench-'));
const local = await startLocal({
  data,
  port: 0,
  environment: { ...process.env, SETTLE_SECONDS: String(settleSeconds) },
});
try {
  // The first project of a warm worker is still its first.
  await round(-1);
  const measured: { whole: Parts; again: Parts }[] = [];
  for (let at = 0; at < rounds; at++) measured.push(await round(at));
  print(
    `${first} pictures`,
    measured.map(({ whole }) => whole),
  );
  print(
    `${more} more`,
    measured.map(({ again }) => again),
  );
} finally {
  await local.stop();
  await rm(data, { recursive: true, force: true });
}

async function round(at: number): Promise<{ whole: Parts; again: Parts }> {
  const learner = await createLearner(local.studioUrl, `Round ${at}`, Object.keys(classes));
  const whole = await uploadAndWait(learner, 0, first);
  return { whole, again: await uploadAndWait(learner, first, first + more) };
}

/** Uploads the pictures from number `from` on, and gives the seconds from the last of them to a model that knows them all. */
async function uploadAndWait(learner: Learner, from: number, to: number): Promise<Parts> {
  const names = Object.keys(classes);
  const numbers = Array.from({ length: to - from }, (_, index) => from + index);
  await Promise.all(
    names.map((name, of) =>
      learner.upload(
        name,
        numbers.flatMap((number) =>
          number % names.length === of ? [classes[name]![Math.floor(number / names.length)]!] : [],
        ),
      ),
    ),
  );
  const uploaded = performance.now();
  const knowsAll = ({ status, run, classes: counted }: Project) =>
    status === 'ready' &&
    run?.state === 'succeeded' &&
    counted.reduce((sum, { images }) => sum + images.ready, 0) === to &&
    run.report?.classes.reduce((sum, { images }) => sum + images, 0) === to;
  const { run } = await learner.until(knowsAll, 120);
  const all = (performance.now() - uploaded) / 1000;
  const seconds = run!.report!.seconds ?? {};
  const known = Object.fromEntries(
    ['queue', 'embed', 'download', 'learn', 'store'].map((part) => [part, seconds[part] ?? 0]),
  );
  const sum = Object.values(known).reduce((one, other) => one + other, 0);
  return {
    'last upload to ready, settle time aside': all - settleSeconds,
    ingest: all - settleSeconds - sum,
    ...known,
  };
}

async function read(folder: string | undefined, each: number): Promise<Record<string, File[]>> {
  const entries = folder
    ? (await readdir(folder))
        .sort()
        .slice(0, 2)
        .map((name) => [name, () => readFolder(join(folder, name), each)] as const)
    : kinds.map((kind) => [kind, () => drawSome(kind, each)] as const);
  return Object.fromEntries(await Promise.all(entries.map(async ([name, take]) => [name, await take()])));
}

async function readFolder(folder: string, each: number): Promise<File[]> {
  const names = (await readdir(folder, { recursive: true })).filter((name) => /\.(jpe?g|png|webp)$/i.test(name)).sort();
  if (names.length < each) throw new Error(`Expected ${each} pictures in ${folder}, found ${names.length}.`);
  const type = (name: string) => `image/${name.split('.').at(-1)!.toLowerCase().replace('jpg', 'jpeg')}`;
  return await Promise.all(
    names.slice(0, each).map(async (name) => ({ name, type: type(name), data: await readFile(join(folder, name)) })),
  );
}

const drawSome = (kind: (typeof kinds)[number], each: number): Promise<File[]> =>
  Promise.all(
    Array.from({ length: each }, async (_, seed) => ({
      name: `${kind} ${seed}.jpg`,
      type: 'image/jpeg',
      data: await draw(kind, seed),
    })),
  );

function print(what: string, measured: Parts[]): void {
  console.log(`| ${what} | seconds (median) | of the whole |\n| --- | --- | --- |`);
  const median = (part: string) => {
    const sorted = measured.map((one) => one[part]!).sort((one, other) => one - other);
    return sorted[Math.floor(sorted.length / 2)]!;
  };
  const parts = Object.keys(measured[0]!);
  for (const part of parts) {
    console.log(`| ${part} | ${median(part).toFixed(2)} | ${Math.round((100 * median(part)) / median(parts[0]!))}% |`);
  }
  console.log('');
}
