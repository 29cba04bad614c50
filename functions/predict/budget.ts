/** A bound on something that requests hold for a while (bytes, pixels): who comes when it is spent waits, first come first served. */
export interface Budget {
  /**
   * Runs `work` while it holds `amount`. More than there is in all counts as all of it.
   */
  hold: <T>(amount: number, work: () => Promise<T>) => Promise<T>;
}

export function createBudget(total: number): Budget {
  let left = total;
  const waiting: { amount: number; go: () => void }[] = [];
  const letGo = () => {
    // Strictly in order: a large one is not overtaken for ever by small ones.
    while (waiting[0] && waiting[0].amount <= left) {
      const { amount, go } = waiting.shift()!;
      left -= amount;
      go();
    }
  };
  return {
    hold: async (wanted, work) => {
      const amount = Math.min(wanted, total);
      await new Promise<void>((go) => {
        waiting.push({ amount, go });
        letGo();
      });
      try {
        return await work();
      } finally {
        left += amount;
        letGo();
      }
    },
  };
}
