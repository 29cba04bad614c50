import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Program, programs, variables } from '#shared/settings.ts';

const readme = new URL('../README.md', import.meta.url);

function table(): string {
  const rows = Object.entries(variables).map(([name, variable]) => {
    const {
      meaning,
      default: fallback,
      optional,
    } = variable as { meaning: string; default?: string; optional?: boolean };
    const taken = (Object.keys(programs) as Program[]).filter((program) => programs[program].includes(name as never));
    const value = fallback === undefined ? (optional ? 'none' : 'required') : `\`${fallback}\``;
    return `| \`${name}\` | ${meaning} | ${value} | ${taken.join(', ')} |`;
  });
  return ['| variable | meaning | default | taken by |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

test('the README names every variable (UPDATE=1 npx vitest run test/readme.test.ts writes it anew)', () => {
  const text = readFileSync(readme, 'utf8');
  const [start, end] = ['test/readme.test.ts -->\n', '<!-- /variables -->'];
  const before = text.slice(0, text.indexOf(start) + start.length);
  const current = `${before}${table()}\n${text.slice(text.indexOf(end))}`;
  if (process.env.UPDATE) writeFileSync(readme, current);
  else expect(text).toBe(current);
});

test('every file and folder that the README names is there', () => {
  const text = readFileSync(readme, 'utf8');
  const named = [...text.matchAll(/`((?:functions|trainer|web|infra|test)\/[\w./-]*)`/g)].map(([, path]) => path!);
  expect(named.length).toBeGreaterThan(5);
  for (const path of named)
    expect(() => readFileSync(new URL(`../${path}`, import.meta.url)), path).not.toThrow(/ENOENT/);
});
