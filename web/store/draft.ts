/** Classes that are named before there is a project, and the project that is created from them. */
import type { Project } from '#shared/words.ts';
import { api } from '../api.ts';
import type { Strings } from '../strings/languages.ts';
import type { MutableProjectState } from './project-state.ts';

export type DraftStore = ReturnType<typeof createDraftStore>;

export function createDraftStore(state: MutableProjectState, strings: () => Strings) {
  const nameAt = (index: number) =>
    state.get().draft[index]?.trim().normalize('NFC') || strings().classSuggestion(index + 1);
  const names = () => [...new Set(state.get().draft.map((_, index) => nameAt(index)))];

  async function create(): Promise<Project> {
    const { id } = await api.createProject(strings().untitled, names());
    const project = await catchUp(await api.project(id), names);
    const draftPositions = Object.fromEntries(project.classes.map((item, index) => [item.id, index]));
    state.set({ project, projects: [project, ...state.get().projects], draftPositions });
    location.hash = id;
    return project;
  }

  let creation: Promise<Project> | undefined;
  return {
    rename: (index: number, name: string) => state.set({ draft: state.get().draft.with(index, name) }),
    add: () => state.set({ draft: [...state.get().draft, ''] }),
    remove: (index: number) => state.set({ draft: state.get().draft.toSpliced(index, 1) }),
    /** Creates the project from the draft; calls that overlap create one project. */
    createProject: (): Promise<Project> => {
      creation ??= create().finally(() => {
        creation = undefined;
      });
      return creation;
    },
    /** The id of the class that the draft's name at `index` has become. */
    classIdAt: (project: Project, index: number): string =>
      (project.classes.find(({ name }) => name === nameAt(index)) ?? project.classes[0]!).id,
  };
}

/** Repeats in a project just created what the learner typed meanwhile, as far as the studio accepts it. */
async function catchUp(created: Project, names: () => string[]): Promise<Project> {
  let lastChange = '';
  for (let project = created; ; project = await api.project(project.id)) {
    const wanted = names();
    const index = wanted.findIndex((name, position) => project.classes[position]?.name !== name);
    const [name, existing] = [wanted[index]!, project.classes[index]];
    // The same change a second time means that the studio writes the name in another way than the page.
    if (index < 0 || lastChange === `${index} ${name}`) return project;
    lastChange = `${index} ${name}`;
    try {
      if (existing) await api.renameClass(project.id, existing.id, name);
      else await api.addClass(project.id, name);
    } catch {
      return project;
    }
  }
}
