/** The page's state, by concern: language, trouble, uploads, project. This file joins them. */
import { createDraftStore } from './draft.ts';
import { createLanguageStore } from './language.ts';
import { createProjectStore } from './project.ts';
import { createProjectState, showDraft } from './project-state.ts';
import { createRefresh } from './refresh.ts';
import { createTroubleStore } from './trouble.ts';
import { createUploadStore } from './uploads.ts';

export type Store = ReturnType<typeof createStore>;

export function createStore() {
  const language = createLanguageStore();
  const state = createProjectState();
  const trouble = createTroubleStore(leave);
  const uploads = createUploadStore(leave);
  const draft = createDraftStore(state, language.strings);
  const { refresh, schedule } = createRefresh({ state, trouble, uploads });
  const project = createProjectStore({ state, trouble, draft, refresh, schedule, leave });

  /** Takes a project that does not exist any more off the page, with its uploads. */
  function leave(projectId: string): void {
    uploads.drop(projectId);
    const { projects, project: open } = state.get();
    state.set({ projects: projects.filter(({ id }) => id !== projectId) });
    if (open?.id !== projectId) return;
    showDraft(state);
    trouble.dismiss();
  }

  /** Sends pictures to a class of the open project. The first pictures of a draft create its project. */
  async function addPictures(classIdOrDraftIndex: string | number, files: File[]): Promise<void> {
    let target = state.get().project;
    if (!target) {
      await trouble.attempt(async () => {
        target = await draft.createProject();
      });
    }
    if (!target) return;
    const classId =
      typeof classIdOrDraftIndex === 'string' ? classIdOrDraftIndex : draft.classIdAt(target, classIdOrDraftIndex);
    const sent = uploads.send({ projectId: target.id, classId }, files);
    schedule();
    await sent;
    await refresh();
  }

  return { language, trouble, uploads: { ...uploads, addPictures }, project };
}
