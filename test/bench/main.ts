/**
 * `npm run bench -- NAME [options]` runs the benchmark in the folder NAME here: its main.py, with the trainer's Python, or its
 * main.ts. `--help` after the name tells its options.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('.', import.meta.url));
const [name = '', ...options] = process.argv.slice(2);
const known = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());

if (!known.some((entry) => entry.name === name)) {
  console.error(
    `npm run bench -- NAME: expected one of ${known.map((entry) => entry.name).join(', ')}, got "${name}".`,
  );
  process.exit(2);
}
const python = process.env.PYTHON ?? fileURLToPath(new URL('../../.venv/bin/python', import.meta.url));
const [program, file] = existsSync(`${folder}${name}/main.py`)
  ? [python, `${folder}${name}/main.py`]
  : [process.execPath, `${folder}${name}/main.ts`];
const bench = spawn(program, [file, ...options], { stdio: 'inherit' });
bench.on('error', (error) => {
  console.error(`${program} could not be started: ${error.message}. Run npm start or npm test once: they install it.`);
  process.exit(1);
});
bench.on('close', (code) => process.exit(code ?? 1));
