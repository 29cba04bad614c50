/** What a learner does with projects: opens, creates, renames and removes them, and changes the open one. */
import type { Stage } from '#shared/words.ts';
import { api } from '../api.ts';
import type { DraftStore } from './draft.ts';
import { type MutableProjectState, showDraft, showProject } from './project-state.ts';
import type { createRefresh } from './refresh.ts';
import type { TroubleStore } from './trouble.ts';

interface Deps extends ReturnType<typeof createRefresh> {
  state: MutableProjectState;
  trouble: TroubleStore;
  draft: DraftStore;
  /** Takes a project that does not exist any more off the page. */
  leave: (projectId: string) => void;
}

export function createProjectStore(deps: Deps) {
  const { get, listen } = deps.state;
  return { get, listen, ...createVisits(deps), ...createChanges(deps) };
}

/** Which project is on the page. */
function createVisits({ state, trouble, refresh, schedule, leave }: Deps) {
  async function open(id: string): Promise<void> {
    await trouble.attempt(async () => showProject(state, await api.project(id)));
    schedule();
  }
  return {
    open,
    load: async (): Promise<void> => {
      await trouble.poll(async () => {
        const projects = await api.projects();
        const project = projects.find(({ id }) => `#${id}` === location.hash) ?? projects[0] ?? null;
        state.set({ projects, project });
      });
      state.set({ loaded: true });
      schedule();
    },
    startNew: (): void => {
      showDraft(state);
      trouble.dismiss();
    },
    remove: (id: string) =>
      trouble.attempt(async () => {
        await api.removeProject(id);
        leave(id);
        const [next] = state.get().projects;
        if (next) await open(next.id);
      }),
    /** Makes a new key; null where that failed. It ends the links to the model, so the project is fetched again. */
    makeKey: async (id: string): Promise<string | null> => {
      let key: string | null = null;
      await trouble.attempt(async () => {
        key = await api.makeKey(id);
      });
      await refresh();
      return key;
    },
    /** Ends the session: the next person at this computer finds no project. */
    endSession: () =>
      trouble.attempt(async () => {
        await api.endSession();
        location.assign(location.pathname);
      }),
  };
}

/** Changes of the open project. Each resolves to whether it succeeded. */
function createChanges({ state, trouble, draft, refresh }: Deps) {
  async function change(work: (projectId: string) => Promise<unknown>): Promise<boolean> {
    const id = state.get().project?.id;
    const succeeded = id !== undefined && (await trouble.attempt(() => work(id)));
    await refresh();
    return succeeded;
  }
  return {
    rename: (name: string) =>
      change(async (projectId) => {
        await api.renameProject(projectId, name);
        state.set({ projects: state.get().projects.map((item) => (item.id === projectId ? { ...item, name } : item)) });
      }),
    addClass: (name: string) =>
      state.get().project ? change((projectId) => api.addClass(projectId, name)) : draft.add(),
    renameClass: (classId: string, name: string) => change((projectId) => api.renameClass(projectId, classId, name)),
    removeClass: (classId: string) => change((projectId) => api.removeClass(projectId, classId)),
    renameDraft: draft.rename,
    removeDraft: draft.remove,
    moveImage: (imageId: string, classId: string) => change((projectId) => api.moveImage(projectId, imageId, classId)),
    removeImage: (imageId: string) => change((projectId) => api.removeImage(projectId, imageId)),
    train: (stage: Stage = 'head', backbone?: string) => change((projectId) => api.train(projectId, stage, backbone)),
    cancelRun: (runId: string) => change((projectId) => api.cancelRun(projectId, runId)),
  };
}
