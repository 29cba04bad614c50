import { defineConfig } from 'vitest/config';

/**
 * Last, one after another, when nothing else is on the cores: what compares how long things take, and, in the full form of the
 * faults, what counts seconds while workers are killed and cut off.
 */
const alone = [
  'test/faults/turns.test.ts',
  ...(process.env.FAULTS === 'full' ? ['test/faults/trainer.test.ts', 'test/faults/outages.test.ts'] : []),
];

export default defineConfig({
  test: {
    // Files start real servers and real Python: two at once is what a small machine carries.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    projects: [
      { extends: true, test: { name: 'tests', include: ['test/**/*.test.ts'], exclude: alone } },
      { extends: true, test: { name: 'alone', include: alone, fileParallelism: false, sequence: { groupOrder: 1 } } },
    ],
  },
});
