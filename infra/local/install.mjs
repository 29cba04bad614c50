// Installs what `npm start`, `npm test` and `npm run check` need, locked, and does nothing when it is there already; with
// `--packages` the JavaScript packages alone, which is all that `npm run synth` needs. Plain
// JavaScript on Node's own modules: it runs on the machine's Node before anything is installed.
// @ts-check
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const forTests = process.argv.includes('--tests');
const venv = join(root, '.venv');
const python = join(venv, 'bin/python');
const models = join(root, '.data/models');

/** @param {string} sentence @returns {never} */
function refuse(sentence) {
  console.error(sentence);
  process.exit(1);
}

/** @param {string} command @param {string[]} args @param {Record<string, string | undefined>} [environment] */
function run(command, args, environment = process.env) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: environment });
  if (error) refuse(`${command} could not be started: ${error.message}`);
  if (status !== 0) refuse(`${command} ${args.slice(0, 3).join(' ')} failed (exit ${status}); what it said is above.`);
}

/** @param {string[]} files of the tree; a folder counts with all that is in it */
function digest(files) {
  const hash = createHash('sha256');
  /** @param {string} path */
  const add = (path) => {
    if (statSync(path).isDirectory()) for (const name of readdirSync(path).sort()) add(join(path, name));
    else hash.update(path).update(readFileSync(path));
  };
  for (const file of files) if (existsSync(join(root, file))) add(join(root, file));
  return hash.digest('hex');
}

/**
 * Does `work` unless `stamp` says that it was done for the same `wanted`. The stamp goes first and comes last, so that work
 * which was interrupted is done again.
 * @param {string} stamp @param {string} wanted @param {string} sentence @param {() => void} work
 */
function once(stamp, wanted, sentence, work) {
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  rmSync(stamp, { force: true });
  console.log(sentence);
  work();
  writeFileSync(stamp, wanted);
}

if (process.platform === 'win32') refuse('AI Teacher needs Linux or macOS: on Windows, run it in WSL.');
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19))
  refuse(`Node 20.19 or newer is needed; this is ${process.versions.node}.`);

// Not `npm ci`: it refuses a lock file that lacks a package for some other platform, as one does that was made behind a
// mirror without it. Versions and hashes are the locked ones all the same, and the lock file stays as it is.
once(join(root, 'node_modules/.installed'), digest(['package-lock.json']), 'Installing the JavaScript packages …', () =>
  run('npm', ['install', '--no-save', '--loglevel=error']),
);

if (process.argv.includes('--packages')) process.exit(0);

/** The first Python that is new enough and can make environments. */
function findPython() {
  const seen = [];
  for (const name of ['python3', 'python3.14', 'python3.13', 'python3.12', 'python3.11']) {
    const asked = spawnSync(name, ['-c', 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])'], {
      encoding: 'utf8',
    });
    if (asked.error) continue;
    const version = asked.stdout.trim();
    if (asked.status === 0 && Number(version.split('.')[1]) >= 11) return name;
    seen.push(asked.status === 0 ? `${name} is ${version}` : `${name} lacks venv or pip`);
  }
  return refuse(
    `Python 3.11 or newer with venv and pip is needed; ${seen.join(', ') || 'there is no python3'}. On Debian: apt-get install python3-venv python3-pip`,
  );
}

const requirements = [
  'trainer/python/requirements.txt',
  'infra/local/requirements.txt',
  ...(forTests ? ['test/requirements.txt'] : []),
];
// An environment that tests use has all that a start needs, so that the two do not install in turns.
const stamps = { start: join(venv, '.installed'), tests: join(venv, '.installed-tests') };
const wanted = digest(requirements.slice(0, 2)) + (process.env.TORCH_BACKEND ?? '');
once(
  forTests ? stamps.tests : stamps.start,
  wanted + (forTests ? digest(['test/requirements.txt']) : ''),
  'Installing the Python packages (PyTorch is large: some minutes the first time) …',
  () => {
    const system = findPython();
    if (!existsSync(python) || spawnSync(python, ['-m', 'pip', '--version']).status !== 0) {
      rmSync(venv, { recursive: true, force: true });
      run(system, ['-m', 'venv', venv]);
    }
    const { PYTHONDONTWRITEBYTECODE: _, ...environment } = process.env;
    // uv, because pip takes many times as long for PyTorch; its version is in the lock file as well.
    if (!existsSync(join(venv, 'bin/uv')))
      run(python, ['-m', 'pip', 'install', '--quiet', '--require-hashes', '-r', 'infra/local/uv.txt'], environment);
    // Without PyTorch's own index the packages are exactly the locked ones. With it (TORCH_BACKEND=cpu, say) they are PyTorch's
    // build for that backend, whose hashes no lock file of another index can know.
    const backend = process.env.TORCH_BACKEND;
    const source = backend ? ['--torch-backend', backend, '--no-verify-hashes'] : ['--require-hashes'];
    const files = requirements.flatMap((file) => ['-r', file]);
    run(
      join(venv, 'bin/uv'),
      ['pip', 'install', '--quiet', '--python', python, '--compile-bytecode', ...source, ...files],
      environment,
    );
    writeFileSync(stamps.start, wanted);
  },
);

if (forTests) {
  // checkov pins its packages so tightly that they need an environment of their own.
  const scan = join(venv, 'scan');
  const requirements = 'test/infra/cluster/requirements.txt';
  once(join(venv, '.installed-scan'), digest([requirements]), 'Installing what checks manifests …', () => {
    run(python, ['-m', 'venv', '--clear', '--without-pip', scan]);
    const packages = ['--require-hashes', '-r', requirements];
    run(join(venv, 'bin/uv'), ['pip', 'install', '--quiet', '--python', join(scan, 'bin/python'), ...packages]);
  });
}

mkdirSync(models, { recursive: true });
once(
  join(models, '.prepared'),
  digest([
    'functions/shared/backbones.json',
    'trainer/python/backbone.py',
    'trainer/python/graphs.py',
    'trainer/python/networks.py',
    'trainer/python/prepare.py',
    'trainer/python/prepared.py',
    'trainer/python/weights.py',
    'trainer/python/requirements.txt',
  ]),
  'Preparing the pretrained networks …',
  () => run(python, ['-m', 'trainer.python.prepare', '--cache', models]),
);

mkdirSync(join(root, 'dist'), { recursive: true });
once(join(root, 'dist/.web'), digest(['web', 'functions/shared', 'package-lock.json']), 'Building the page …', () =>
  run('node_modules/.bin/node', ['node_modules/vite/bin/vite.js', 'build', '--logLevel', 'warn', 'web']),
);

if (forTests) {
  const chromium = process.env.CHROMIUM || '/usr/bin/chromium';
  if (!existsSync(chromium)) {
    const isDebian = existsSync('/usr/bin/apt-get') && process.getuid?.() === 0;
    if (!isDebian)
      refuse(
        'The tests need a browser: install Chromium and set CHROMIUM to its path (on Debian: sudo apt-get install chromium).',
      );
    console.log('Installing Chromium for the tests …');
    const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'ignore', env: environment });
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium', 'fonts-noto-cjk'], environment);
  }
}
