import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { environments, synthesize } from './support.ts';

const golden = fileURLToPath(new URL('./golden/', import.meta.url));

describe.each(Object.entries(environments))('manifests of %s', (name, environment) => {
  test('are those of the golden files: a review sees what a change does to the cluster', () => {
    const files = synthesize(environment);
    const folder = `${golden}${name}`;
    if (process.env.UPDATE) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      for (const [file, text] of Object.entries(files)) writeFileSync(`${folder}/${file}`, text);
    }
    expect(readdirSync(folder).sort()).toEqual(Object.keys(files).sort());
    for (const [file, text] of Object.entries(files)) {
      expect(text, `${file}; UPDATE=1 npx vitest run test/infra/cluster/golden.test.ts writes it anew`).toBe(
        readFileSync(`${folder}/${file}`, 'utf8'),
      );
    }
  });

  test('are the same each time', () => {
    expect(synthesize(environment)).toEqual(synthesize(environment));
  });
});

test('another image of the trainer changes its own lines and no other', () => {
  const { production } = environments;
  const image = production!.images.trainer.replace('2222', '3333');
  const before = Object.values(synthesize(production!)).join('\n').split('\n');
  const after = Object.values(synthesize({ ...production!, images: { ...production!.images, trainer: image } }))
    .join('\n')
    .split('\n');
  expect(after).toHaveLength(before.length);
  const changed = after.filter((line, index) => line !== before[index]).map((line) => line.trim());
  expect(changed).toEqual([`image: ${image}`, `image: ${image}`]);
});
