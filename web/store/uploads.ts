/** Batches of pictures on their way, of every project: they continue while another project is open. */
import { api, ProjectGone } from '../api.ts';
import { prepare } from '../uploads/prepare-picture.ts';
import { type Batch, createUploadQueue, postPicture, type Target } from '../uploads/queue.ts';
import { createObservable } from './observable.ts';

export type UploadStore = ReturnType<typeof createUploadStore>;

export function createUploadStore(onProjectGone: (projectId: string) => void) {
  const { get, set, listen } = createObservable<{ batches: Batch[] }>({ batches: [] });
  /** By project: aborting one stops the batches of its project. */
  const controllers = new Map<string, AbortController>();
  const queue = createUploadQueue({
    requestUploads: ({ projectId, classId }, files) =>
      watchForGone(api.requestUploads(projectId, classId, files), onProjectGone),
    renewUpload: ({ projectId }, imageId) => watchForGone(api.renewUpload(projectId, imageId), onProjectGone),
    post: postPicture,
    prepare,
    wait: (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000)),
    onChange: (batch) =>
      set({ batches: [...get().batches.filter(({ id }) => id !== batch.id), batch].sort((a, b) => a.id - b.id) }),
  });
  const close = (id: number) => set({ batches: get().batches.filter((batch) => batch.id !== id) });

  return {
    get,
    listen,
    close,
    /** Sends `files` to `target`, whatever is opened meanwhile. The batch stays listed only where a file failed. */
    send: async (target: Target, files: File[]): Promise<void> => {
      const controller = controllers.get(target.projectId) ?? new AbortController();
      controllers.set(target.projectId, controller);
      const { id, failed } = await queue.send(target, files, controller.signal);
      if (failed.length === 0) close(id);
    },
    /** Stops and forgets the batches of a project that is gone. */
    drop: (projectId: string): void => {
      controllers.get(projectId)?.abort();
      controllers.delete(projectId);
      set({ batches: get().batches.filter((batch) => batch.projectId !== projectId) });
    },
  };
}

async function watchForGone<T>(answer: Promise<T>, onProjectGone: (projectId: string) => void): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ProjectGone) onProjectGone(error.projectId);
    throw error;
  }
}
