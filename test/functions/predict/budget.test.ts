import { expect, test } from 'vitest';
import { createBudget } from '../../../functions/predict/budget.ts';

test('never more at once than there is, in the order of asking, and all of it comes back', async () => {
  const budget = createBudget(10);
  let [held, most] = [0, 0];
  const order: number[] = [];
  const hold = (index: number, amount: number) =>
    budget.hold(amount, async () => {
      order.push(index);
      held += Math.min(amount, 10);
      most = Math.max(most, held);
      await new Promise((resolve) => setTimeout(resolve, 1));
      held -= Math.min(amount, 10);
      if (index % 3 === 0) throw new Error('failed');
    });
  const amounts = [4, 4, 4, 10, 1, 99, 2, 10, 3];
  await Promise.allSettled(amounts.map((amount, index) => hold(index, amount)));
  expect(most).toBe(10);
  expect(order).toEqual(amounts.map((_, index) => index));
  await hold(1, 10);
  expect(held).toBe(0);
});
