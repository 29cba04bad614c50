/** What is dear to load and stays the same: kept while it is asked for, the longest unused going first. */
export interface Cache<T> {
  /** Runs `work` on the value of `key`, loading it if it is not there; two who ask at once share one load. */
  use: <R>(key: string, load: () => Promise<T>, work: (value: T) => Promise<R>) => Promise<R>;
  keys: () => string[];
  /** Forgets the value of `key`. */
  drop: (key: string) => void;
  /** Forgets every value. */
  close: () => Promise<void>;
}

interface Entry<T> {
  value: Promise<T>;
  users: number;
  dropped: boolean;
}

/**
 * @param most values kept at once. One that is in use when it is dropped is released by its last user.
 */
export function createCache<T>(most: number, release: (value: T) => Promise<void>): Cache<T> {
  // In the order of their last use.
  const entries = new Map<string, Entry<T>>();
  const released = new Set<Promise<void>>();

  const releaseUnused = (entry: Entry<T>) => {
    if (!entry.dropped || entry.users > 0) return;
    // What never loaded needs no release, and whoever asked for it was told.
    const done: Promise<void> = entry.value.then(release, () => {}).finally(() => released.delete(done));
    released.add(done);
  };
  const drop = (key: string) => {
    const entry = entries.get(key);
    if (!entry) return;
    entries.delete(key);
    entry.dropped = true;
    releaseUnused(entry);
  };

  return {
    use: async (key, load, work) => {
      const entry = entries.get(key) ?? { value: load(), users: 0, dropped: false };
      entries.delete(key);
      entries.set(key, entry);
      entry.users++;
      for (const oldest of entries.keys()) {
        if (entries.size <= most) break;
        drop(oldest);
      }
      try {
        return await work(
          await entry.value.catch((error) => {
            // The next one to ask tries again.
            if (entries.get(key) === entry) drop(key);
            throw error;
          }),
        );
      } finally {
        entry.users--;
        releaseUnused(entry);
      }
    },
    keys: () => [...entries.keys()],
    drop,
    close: async () => {
      for (const key of entries.keys()) drop(key);
      await Promise.all(released);
    },
  };
}
