/**
 * Bundles programs for an image: `node infra/images/bundle.ts OUT ENTRY.ts...`. Each entry comes out at its own place below OUT, what several share in
 * chunks, imported when needed: a program that starts reads kilobytes, not a tree of packages. Only packages with machine code
 * stay packages, cut down to this platform.
 */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Packages with machine code, each with the packages that it needs at run time. */
const native: Record<string, string[]> = {
  'onnxruntime-node': ['onnxruntime-common'],
  sharp: ['@img/colour', 'detect-libc', 'semver', ...platformPackages()],
};

/** The parts of sharp for this platform; npm installs no other. */
function platformPackages(): string[] {
  const platform = `${process.platform}-${process.arch}`;
  return [`@img/sharp-${platform}`, `@img/sharp-libvips-${platform}`];
}

/** Sources, types, maps, and machine code for other platforms. */
function isNeeded(path: string): boolean {
  const platform = path.split(`${sep}napi-v6${sep}`)[1];
  const other = platform !== undefined && !`${platform}${sep}`.startsWith(join(process.platform, process.arch) + sep);
  // The folders on the way to this platform's stay.
  if (other && platform !== process.platform) return false;
  return !/\.(map|ts|mts|cts|md)$|[\\/](src|install|script|esm|include)$/.test(path);
}

async function bundle(out: string, entryPoints: string[]): Promise<void> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints,
    outdir: out,
    outbase: '.',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    // Modules where a package has them: a CommonJS one that is imported when needed arrives without its names.
    mainFields: ['module', 'main'],
    minifySyntax: true,
    minifyWhitespace: true,
    // Names stay, so that an error in a log can be read.
    legalComments: 'none',
    external: Object.keys(native),
    // Packages in CommonJS call `require` for Node's own modules.
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
    },
    metafile: true,
    logLevel: 'warning',
  });
  writeFileSync(join(out, 'package.json'), JSON.stringify({ type: 'module' }));

  const used = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
  for (const [name, needs] of Object.entries(native)) {
    if (!used.includes(name)) continue;
    for (const one of [name, ...needs]) {
      const home = join('node_modules', one);
      cpSync(join(root, home), join(out, home), { recursive: true, filter: isNeeded });
    }
  }
  // drizzle's migrations are SQL files that the program reads beside itself.
  const migrate = entryPoints.find((entry) => entry.includes(join('functions', 'migrate')));
  if (migrate)
    cpSync(join(root, 'functions/shared/migrations'), join(out, 'functions/migrate/migrations'), { recursive: true });
}

const [out, ...entries] = process.argv.slice(2);
if (!out || entries.length === 0) throw new Error('usage: node infra/images/bundle.ts OUT ENTRY.ts...');
mkdirSync(out, { recursive: true });
await bundle(out, entries);
console.log(`${entries.length} programs in ${out}`);
