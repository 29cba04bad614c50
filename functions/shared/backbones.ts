/**
 * The backbones that can be offered: those of backbones.json (trainer/python/backbone.py says what an entry holds), and any other
 * model of timm as `timm/NAME`, of which the trainer alone knows more. Which ones are is said by `BACKBONES`.
 */
import entries from './backbones.json' with { type: 'json' };
import embeddingFacts from './embeddings.json' with { type: 'json' };
import type { Backbone } from './words.ts';

const anyOfTimm = /^timm\/\w+(\.[\w-]+)?$/;

/** Those whose weights come with the trainer's locked packages. */
export const bundledBackbones = entries
  .filter(({ parts }) => parts.every((part) => 'package' in part))
  .map(({ name }) => name);

export type BackboneNames = readonly [string, ...string[]];

/** Names with commas between them, the first being the default. @throws Error with what was expected. */
export function parseBackbones(text: string): BackboneNames {
  const known = entries.map(({ name }) => name);
  const names = [...new Set(text.split(',').map((name) => name.trim()))];
  const [first, ...rest] = names;
  if (!first || names.some((name) => !known.includes(name) && !anyOfTimm.test(name))) {
    throw new Error(`names with commas between them, of ${known.join(', ')}, or timm/NAME for any other of timm's`);
  }
  return [first, ...rest];
}

/** What a learner is told of it. */
export function describeBackbone(name: string): Backbone {
  const entry = entries.find((one) => one.name === name);
  if (!entry) return { name, words: null, megabytes: null, license: null };
  const { words, megabytes, license } = entry;
  return { name, words: words ?? null, megabytes, license };
}

/**
 * The space of a backbone's embeddings: those of another version of the features cannot be compared with them. An image that
 * has none in the space of its run is embedded again.
 */
export const embeddingSpace = (backbone: string): string => `${backbone}@${embeddingFacts.version}`;
