/** What went wrong, shown above the cards. */
import type { Detail } from '#shared/words.ts';
import { ApiError, Offline, ProjectGone } from '../api.ts';
import { createObservable } from './observable.ts';

export interface Trouble {
  /** The last request got no answer. Any request that succeeds ends this. */
  offline: boolean;
  /** Refusal of something that the learner did: it stays until the learner closes it or another action succeeds. */
  refusal: Detail | null;
  /** Refusal of a request that the page made by itself; the next one that succeeds ends it. */
  pollRefusal: Detail | null;
}

export type TroubleStore = ReturnType<typeof createTroubleStore>;

const none: Trouble = { offline: false, refusal: null, pollRefusal: null };

export function createTroubleStore(onProjectGone: (projectId: string) => void) {
  const { get, set, listen } = createObservable<Trouble>(none);
  /** Runs `work` and records how it ended. @returns whether it succeeded. */
  async function run(work: () => Promise<unknown>, ended: Partial<Trouble>, refusedAs: 'refusal' | 'pollRefusal') {
    try {
      await work();
      set(ended);
      return true;
    } catch (error) {
      if (error instanceof Offline) set({ offline: true });
      else if (error instanceof ProjectGone) onProjectGone(error.projectId);
      else if (error instanceof ApiError) set({ [refusedAs]: error.detail });
      else throw error;
      return false;
    }
  }
  return {
    get,
    listen,
    /** Runs an action of the learner. @returns whether it succeeded. */
    attempt: (work: () => Promise<unknown>) => run(work, none, 'refusal'),
    /** Runs a request of the page itself: its success says nothing about what the learner was refused. */
    poll: (work: () => Promise<unknown>) => run(work, { offline: false, pollRefusal: null }, 'pollRefusal'),
    dismiss: () => set({ refusal: null, pollRefusal: null }),
  };
}
