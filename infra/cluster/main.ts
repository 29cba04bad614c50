/** `npm run synth -- --env ENV`: every manifest of that environment into dist/ENV. */
import { readdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createCluster } from './cluster.ts';
import type { Environment } from './environment.ts';

const folder = new URL('./environments/', import.meta.url);
const names = readdirSync(folder).map((file) => file.replace(/\.ts$/, ''));
const { values } = parseArgs({ options: { env: { type: 'string' } } });

try {
  if (!values.env || !names.includes(values.env)) {
    throw new Error(`Expected --env and one of ${names.join(', ')}: npm run synth -- --env ${names[0]}`);
  }
  const { default: environment }: { default: Environment } = await import(new URL(`${values.env}.ts`, folder).href);
  const out = `dist/${values.env}`;
  const outdir = fileURLToPath(new URL(`../../${out}`, import.meta.url));
  const app = createCluster(environment, outdir);
  // What an earlier version wrote and this one does not must not be applied.
  rmSync(outdir, { recursive: true, force: true });
  app.synth();
  console.log(
    readdirSync(outdir)
      .map((file) => `${out}/${file}`)
      .join('\n'),
  );
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
