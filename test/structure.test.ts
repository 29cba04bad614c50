/** The size and the names of source files, as style rules that no linter here checks. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { expect, test } from 'vitest';

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n')
  .filter((path) => /\.(ts|tsx|mjs|py)$/.test(path) && !path.startsWith('test/'));

const mostLines = 300;

test(`no source file has more than ${mostLines} lines`, () => {
  const long = files
    .map((path) => ({ path, lines: readFileSync(path, 'utf8').split('\n').length - 1 }))
    .filter(({ lines }) => lines > mostLines);
  expect(long).toEqual([]);
});

/** Files that have the same job on both sides of the process boundary. */
const sameJob = ['main', 'facts', 'stage', 'head_stage', 'fine_tune_stage', '__init__'];

test('no file of the Python program has the name of another source file, unless they do the same job', () => {
  const nameOf = (path: string) =>
    basename(path)
      .replace(/\.\w+$/, '')
      .replaceAll('-', '_');
  const python = files.filter((path) => path.startsWith('trainer/python/'));
  const shared = python.filter((path) => {
    const others = files.filter((other) => other !== path && nameOf(other) === nameOf(path));
    return others.length > 0 && !sameJob.includes(nameOf(path));
  });
  expect(shared).toEqual([]);
});

test('functions of the Python program have at most 60 lines', () => {
  const long = files
    .filter((path) => path.endsWith('.py'))
    .flatMap((path) => longFunctions(readFileSync(path, 'utf8')).map((name) => `${path}: ${name}`));
  expect(long).toEqual([]);
});

/** Names of the functions whose bodies have more than 60 lines, blank ones aside; a body ends where the indentation does. */
function longFunctions(source: string): string[] {
  const lines = source.split('\n').filter((line) => line.trim() !== '');
  const indentOf = (line: string) => line.length - line.trimStart().length;
  return lines.flatMap((line, start) => {
    const name = /^\s*(?:async )?def (\w+)/.exec(line)?.[1];
    if (!name) return [];
    // The signature may end on a line of its own, at the same indentation.
    const signature = lines.slice(start).findIndex((next) => /:\s*$/.test(next.replace(/#.*$/, '')));
    const body = lines.slice(start + signature + 1);
    const end = body.findIndex((next) => indentOf(next) <= indentOf(line));
    return (end < 0 ? body.length : end) > 60 ? [name] : [];
  });
}
