/**
 * `npm run images -- [NAME...]`: builds the images of this tree (functions, trainer, embedded; all of them unless named) with docker,
 * podman or buildah, whichever is there first.
 *
 *   --prefix   what comes before each name (dev.local/ai-teacher-)
 *   --tag      the version of package.json
 *   --wheels   PyTorch of the trainer: cuda13, cuda128 (V100) or cpu, from PyTorch's own index
 *   --backbones  what the trainer's image holds, where that is more than the bundled ones: the value of BACKBONES
 *   --builder  a command that takes the arguments of `docker build`
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parseBackbones } from '#shared/backbones.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const names = ['trainer', 'functions', 'embedded'];
/** Build arguments of the trainer's image. */
const wheels: Record<string, string[]> = {
  cuda13: [],
  cuda128: ['REQUIREMENTS=requirements-v100.txt'],
  cpu: ['TORCH_BACKEND=cpu'],
};
const builders = ['docker build', 'podman build', 'buildah build'];

const { version }: { version: string } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    prefix: { type: 'string', default: 'dev.local/ai-teacher-' },
    tag: { type: 'string', default: version },
    wheels: { type: 'string', default: 'cuda13' },
    backbones: { type: 'string' },
    builder: { type: 'string' },
  },
});

function refuse(sentence: string): never {
  console.error(sentence);
  process.exit(2);
}

function named(backbones: string): string {
  try {
    return parseBackbones(backbones).join(',');
  } catch (error) {
    return refuse(`--backbones is ${backbones}: expected ${(error as Error).message}.`);
  }
}

const unknown = positionals.find((name) => !names.includes(name));
if (unknown) refuse(`There is no image ${unknown}: expected ${names.join(', ')}.`);
const wheel = wheels[values.wheels];
if (!wheel) refuse(`--wheels is ${values.wheels}: expected ${Object.keys(wheels).join(', ')}.`);
const backbones = values.backbones === undefined ? [] : [`BACKBONES=${named(values.backbones)}`];
const builder =
  values.builder ??
  builders.find((one) => spawnSync(one.split(' ')[0]!, ['--version'], { stdio: 'ignore' }).status === 0);
if (!builder) refuse('None of docker, podman and buildah is there: install one, or name another with --builder.');

const [command, ...first] = builder.split(' ') as [string, ...string[]];
for (const name of positionals.length > 0 ? positionals : names) {
  const image = `${values.prefix}${name}:${values.tag}`;
  const options = name === 'trainer' ? [...wheel, ...backbones].flatMap((one) => ['--build-arg', one]) : [];
  console.log(`${image} …`);
  const { status } = spawnSync(
    command,
    [...first, '-f', `${root}infra/images/${name}.Dockerfile`, '-t', image, ...options, root],
    { stdio: 'inherit' },
  );
  if (status !== 0) refuse(`${builder} could not build ${image}; what it said is above.`);
}
