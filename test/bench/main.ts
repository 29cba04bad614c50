/**
 * `npm run bench -- NAME [options]` runs the benchmark in the folder NAME here: its main.py, with the trainer's Python, or its
 * main.ts; `npm run bench` runs all of them, one after the other. `--help` after the name tells its options.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('.', import.meta.url));
const [name = '', ...options] = process.argv.slice(2);
const known = readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);
const python = process.env.PYTHON ?? fileURLToPath(new URL('../../.venv/bin/python', import.meta.url));

if (name && !known.includes(name)) {
  console.error(`npm run bench -- NAME: expected one of ${known.join(', ')}, got "${name}".`);
  process.exit(2);
}
for (const one of name ? [name] : known) {
  if (!name) console.log(`\n## ${one}\n`);
  const [program, file] = existsSync(`${folder}${one}/main.py`)
    ? [python, `${folder}${one}/main.py`]
    : [process.execPath, `${folder}${one}/main.ts`];
  const { error, status } = spawnSync(program, [file, ...options], { stdio: 'inherit' });
  if (error) {
    console.error(
      `${program} could not be started: ${error.message}. Run npm start or npm test once: they install it.`,
    );
  }
  if (error || status !== 0) process.exit(status ?? 1);
}
