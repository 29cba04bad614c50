/**
 * How soon a model is there, from the last upload to `ready`, by all programs on this machine with a warm trainer.
 *
 *     npm run bench -- ready [--data DIR] [--pictures 100] [--more 5] [--rounds 5]
 *
 * `--data` holds a folder of pictures for each of two classes; without it they are drawn. Seconds are medians of the rounds, each
 * a new project, the time that the project settles included. They are compared to the limit of the machine: the network alone
 * for as many pictures, on as many threads, measured right after.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
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
/** Of the default backbone, prepared by the first start. */
const side = 224;
const whole = 'last upload to ready';

type Parts = Record<string, number>;

const classes = await read(options.data, Math.ceil((first + more) / 2));
const data = await mkdtemp(join(tmpdir(), 'ai-teacher-bench-'));
const local = await startLocal({
  data,
  port: 0,
  environment: process.env,
});
try {
  // The first project of a warm worker is still its first.
  await round(-1);
  const measured: { first: Parts; more: Parts }[] = [];
  for (let at = 0; at < rounds; at++) measured.push(await round(at));
  const alone = await networkAlone(local.environment.MODEL_CACHE!);
  const firsts = measured.map((one) => one.first);
  const mores = measured.map((one) => one.more);
  print(`${first} pictures`, firsts, first * alone);
  print(`${more} more`, mores, more * alone);
} finally {
  await local.stop();
  await rm(data, { recursive: true, force: true });
}

async function round(at: number): Promise<{ first: Parts; more: Parts }> {
  const learner = await createLearner(local.studioUrl, `Round ${at}`, Object.keys(classes));
  return {
    first: await uploadAndWait(learner, 0, first),
    more: await uploadAndWait(learner, first, first + more),
  };
}

/** Seconds of the network for a picture, two of them at a time. */
async function networkAlone(cache: string): Promise<number> {
  const file = (await readdir(cache))
    .filter((name) => /^efficientnet-lite0-\d+\.\d+[\d.-]*\.embed\.onnx$/.test(name))
    .sort()
    .at(-1)!;
  const open = () => InferenceSession.create(join(cache, file), { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const sessions = await Promise.all([open(), open()]);
  const prepared = new Tensor('float32', new Float32Array(3 * side * side), [1, 3, side, side]);
  const pictures = 60;
  const work = async (session: InferenceSession, count: number) => {
    for (let one = 0; one < count; one++) await session.run({ prepared });
  };
  await Promise.all(sessions.map((session) => work(session, 5)));
  const began = performance.now();
  await Promise.all(sessions.map((session) => work(session, pictures / 2)));
  return (performance.now() - began) / 1000 / pictures;
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
  return { [whole]: all, ingest: all - sum, ...known };
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

async function drawSome(kind: (typeof kinds)[number], each: number): Promise<File[]> {
  const drawOne = async (seed: number) => ({
    name: `${kind} ${seed}.jpg`,
    type: 'image/jpeg',
    data: await draw(kind, seed),
  });
  return await Promise.all(Array.from({ length: each }, (_, seed) => drawOne(seed)));
}

/** @param limit seconds that the network alone takes for these pictures. */
function print(what: string, measured: Parts[], limit: number): void {
  const median = (part: string) => {
    const sorted = measured.map((one) => one[part]!).sort((one, other) => one - other);
    return sorted[Math.floor(sorted.length / 2)]!;
  };
  const rows = Object.keys(measured[0]!).map((part) => [part, median(part)] as const);
  console.log(`| ${what} | seconds (median of ${measured.length}) | of the network alone |\n| --- | --- | --- |`);
  for (const [part, seconds] of [...rows, ['the network alone', limit] as const]) {
    console.log(`| ${part} | ${seconds.toFixed(2)} | ${(seconds / limit).toFixed(1)} x |`);
  }
  console.log('');
}
