import { defineConfig } from 'vitest/config';

/**
 * What counts seconds, one after another: last, when nothing else is on the cores. Leases of trainers that are killed and paused
 * are too short for company only where they are hundreds, in the full form.
 */
const alone = ['test/faults/turns.test.ts', ...(process.env.FAULTS === 'full' ? ['test/faults/trainer.test.ts'] : [])];

export default defineConfig({
  test: {
    // Files start real servers and real Python: two at once is what a small machine carries.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    projects: [
      { extends: true, test: { name: 'tests', include: ['test/**/*.test.ts'], exclude: alone } },
      { extends: true, test: { name: 'alone', include: alone, sequence: { groupOrder: 1 }, maxWorkers: 1 } },
    ],
  },
});
