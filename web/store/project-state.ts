/** The open project and the others of this session, as last fetched. */
import type { Project } from '#shared/words.ts';
import { createObservable, type MutableObservable } from './observable.ts';

export interface ProjectState {
  projects: { id: string; name: string }[];
  /** The open project; null until the learner does something: a visit alone creates nothing. */
  project: Project | null;
  /** Names of the classes while there is no project. */
  draft: string[];
  /** By class id, the position of its name in the draft: the class keeps its box on the page, and the cursor stays in it. */
  draftPositions: Record<string, number>;
  /** Whether the projects of this session were fetched, or could not be. */
  loaded: boolean;
}

export type MutableProjectState = MutableObservable<ProjectState>;

const emptyDraft = ['', ''];

export const createProjectState = (): MutableProjectState =>
  createObservable<ProjectState>({
    projects: [],
    project: null,
    draft: emptyDraft,
    draftPositions: {},
    loaded: false,
  });

/** Shows `project`; its address is kept in the URL, so that a reload opens it again. */
export function showProject(state: MutableProjectState, project: Project): void {
  state.set({ project });
  location.hash = project.id;
}

/** Shows the draft of a new project. */
export function showDraft(state: MutableProjectState): void {
  state.set({ project: null, draft: emptyDraft });
  history.replaceState(null, '', location.pathname);
}
