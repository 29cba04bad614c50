/**
 * Gathers single items into batches: what comes while a batch is at work, or within `wait` of the first, goes together.
 * One batch at a time.
 *
 * @param work gives one outcome for each item, in order; a rejection of it is each item's.
 */
export function createBatcher<Item, Outcome>({
  size,
  waitMilliseconds,
  work,
}: {
  size: number;
  waitMilliseconds: number;
  work: (items: Item[]) => Promise<Outcome[]>;
}): (item: Item) => Promise<Outcome> {
  interface Waiting {
    item: Item;
    settle: PromiseWithResolvers<Outcome>;
  }
  const waiting: Waiting[] = [];
  let atWork = false;

  async function next(): Promise<void> {
    if (atWork || waiting.length === 0) return;
    atWork = true;
    if (waiting.length < size) await new Promise((resolve) => setTimeout(resolve, waitMilliseconds));
    const batch = waiting.splice(0, size);
    try {
      const outcomes = await work(batch.map(({ item }) => item));
      batch.forEach(({ settle }, index) => {
        settle.resolve(outcomes[index]!);
      });
    } catch (error) {
      for (const { settle } of batch) settle.reject(error);
    }
    atWork = false;
    void next();
  }

  return (item) => {
    const settle = Promise.withResolvers<Outcome>();
    waiting.push({ item, settle });
    void next();
    return settle.promise;
  };
}
