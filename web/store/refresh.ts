/** Keeps the open project up to date: it is fetched every second while something is under way and somebody sees the page. */
import { api } from '../api.ts';
import { isFinished } from '../uploads/queue.ts';
import type { MutableProjectState } from './project-state.ts';
import type { TroubleStore } from './trouble.ts';
import type { UploadStore } from './uploads.ts';

const pollMilliseconds = 1000;

interface Deps {
  state: MutableProjectState;
  trouble: TroubleStore;
  uploads: UploadStore;
}

export function createRefresh({ state, trouble, uploads }: Deps) {
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** Fetches the open project now. */
  async function refresh(): Promise<void> {
    const id = state.get().project?.id;
    if (id) {
      await trouble.poll(async () => {
        const project = await api.project(id);
        // The learner may have opened another project meanwhile.
        if (state.get().project?.id === id) state.set({ project });
      });
    }
    schedule();
  }

  /** Plans the next fetch, if one is needed. */
  function schedule(): void {
    clearTimeout(timer);
    if ((isBusy() || trouble.get().offline) && !document.hidden) timer = setTimeout(refresh, pollMilliseconds);
  }

  function isBusy(): boolean {
    const { project } = state.get();
    if (!project) return false;
    return (
      ['waiting', 'training'].includes(project.status) ||
      ['queued', 'running'].includes(project.run?.state ?? '') ||
      project.classes.some(({ images }) => images.pending > 0) ||
      uploads.get().batches.some((batch) => batch.projectId === project.id && !isFinished(batch))
    );
  }

  document.addEventListener('visibilitychange', () => void refresh());
  addEventListener('online', () => void refresh());
  return { refresh, schedule };
}
