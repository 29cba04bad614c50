import { expect, test } from 'vitest';
import { createBatcher } from '../../trainer/batch.ts';

test('what comes together goes together, in order, one batch at a time', async () => {
  const batches: number[][] = [];
  let atWork = 0;
  const double = createBatcher({
    size: 4,
    waitMilliseconds: 1,
    work: async (items: number[]) => {
      expect(++atWork).toBe(1);
      batches.push(items);
      await new Promise((resolve) => setTimeout(resolve, 2));
      atWork--;
      return items.map((item) => item * 2);
    },
  });
  const items = Array.from({ length: 10 }, (_, index) => index);
  expect(await Promise.all(items.map(double))).toEqual(items.map((item) => item * 2));
  expect(batches).toEqual([
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [8, 9],
  ]);
});

test('a batch that fails rejects its own items and no others', async () => {
  const work = createBatcher({
    size: 2,
    waitMilliseconds: 0,
    work: async (items: string[]) => {
      if (items.includes('bad')) throw new Error('no');
      return items;
    },
  });
  const settled = await Promise.allSettled(['a', 'bad', 'b', 'c'].map(work));
  expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled', 'fulfilled']);
});
