/** The project on the screen: fetched, watched while something is under way, changed through the API. */
import type { Detail, Project, Stage } from '#shared/words.ts';
import { ApiError, api, Offline } from './api.ts';
import { prepare } from './uploads/prepare.ts';
import { type Batch, createUploads, postPicture } from './uploads/queue.ts';

export interface View {
  /** Those of this session, as last fetched. */
  projects: { id: string; name: string }[];
  /** Null until the learner did something: a visit alone creates nothing. */
  project: Project | null;
  /** Names of the classes while there is no project. */
  draft: string[];
  /** Of classes that were in the draft, their place there: their boxes stay the same ones, and the cursor stays in them. */
  places: Record<string, number>;
  batches: Batch[];
  /** The last thing that went wrong, until something works. */
  trouble: Detail | 'offline' | null;
  loaded: boolean;
}

export type Store = ReturnType<typeof createStore>;

const seconds = (count: number) => new Promise<void>((resolve) => setTimeout(resolve, count * 1000));
/** Milliseconds between two looks: quick while something is under way, not at all when nothing is. */
const busyEvery = 1000;

export function createStore(untitled: () => string, classSuggestion: (number: number) => string) {
  let view: View = {
    projects: [],
    project: null,
    draft: ['', ''],
    places: {},
    batches: [],
    trouble: null,
    loaded: false,
  };
  const listeners = new Set<() => void>();
  const set = (change: Partial<View>) => {
    view = { ...view, ...change };
    for (const listener of listeners) listener();
  };

  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Looks again soon if something is under way and somebody sees it. */
  function watch(): void {
    clearTimeout(timer);
    const { project, batches } = view;
    const busy =
      project &&
      (['waiting', 'training'].includes(project.status) ||
        ['queued', 'running'].includes(project.run?.state ?? '') ||
        project.classes.some(({ images }) => images.pending > 0) ||
        batches.some((batch) => batch.sent + batch.failed.length < batch.total));
    if ((busy || view.trouble === 'offline') && !document.hidden) timer = setTimeout(refresh, busyEvery);
  }

  async function refresh(): Promise<void> {
    const id = view.project?.id;
    if (id) {
      await attempt(async () => {
        const project = await api.project(id);
        // The learner may have gone to another project meanwhile.
        if (view.project?.id === id) set({ project });
      });
    }
    watch();
  }
  document.addEventListener('visibilitychange', () => void refresh());
  addEventListener('online', () => void refresh());

  /** Does it, and keeps what went wrong to be shown. @returns whether it worked. */
  async function attempt(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      if (view.trouble) set({ trouble: null });
      return true;
    } catch (error) {
      if (error instanceof Offline) set({ trouble: 'offline' });
      else if (error instanceof ApiError && error.status === 404 && view.project) await leave(view.project.id);
      else if (error instanceof ApiError) set({ trouble: error.detail });
      else throw error;
      return false;
    }
  }

  const draftName = (place: number) => view.draft[place]?.trim().normalize('NFC') || classSuggestion(place + 1);
  const draftNames = () => [...new Set(view.draft.map((_, place) => draftName(place)))];

  /** Brings a project that was just created to what was typed while that took its time, as far as the studio takes it. */
  async function takeUpDraft(project: Project): Promise<Project> {
    let tried = '';
    for (let now = project; ; now = await api.project(project.id)) {
      const names = draftNames();
      const place = names.findIndex((name, index) => now.classes[index]?.name !== name);
      const [name, there] = [names[place]!, now.classes[place]];
      // Also where the studio writes a name in another way than the page.
      if (place < 0 || tried === `${place} ${name}`) return now;
      tried = `${place} ${name}`;
      try {
        if (there) await api.renameClass(now.id, there.id, name);
        else await api.addClass(now.id, name);
      } catch {
        return now;
      }
    }
  }

  let creating: Promise<Project> | undefined;
  /** The project, created now if the learner had none: with what was typed so far. */
  function ensure(): Promise<Project> {
    if (view.project) return Promise.resolve(view.project);
    creating ??= (async () => {
      const { id } = await api.create(untitled(), draftNames());
      const project = await takeUpDraft(await api.project(id));
      const places = Object.fromEntries(project.classes.map((one, place) => [one.id, place]));
      set({ project, projects: [project, ...view.projects], places });
      location.hash = id;
      return project;
    })().finally(() => {
      creating = undefined;
    });
    return creating;
  }

  const inProject = (work: (project: Project) => Promise<unknown>) =>
    attempt(async () => {
      await work(await ensure());
    }).then(async (worked) => {
      await refresh();
      return worked;
    });

  const uploads = createUploads({
    ask: (classId, files) => api.askUploads(view.project!.id, classId, files),
    askAgain: (imageId) => api.askUploadAgain(view.project!.id, imageId),
    post: postPicture,
    prepare,
    wait: seconds,
    onChange: (batch) => {
      set({ batches: [...view.batches.filter(({ id }) => id !== batch.id), batch].sort((a, b) => a.id - b.id) });
    },
  });

  async function open(id: string): Promise<void> {
    await attempt(async () => {
      set({ project: await api.project(id), batches: [] });
      location.hash = id;
    });
    watch();
  }

  /** Of a project that is gone, to what is left. */
  async function leave(id: string): Promise<void> {
    set({
      projects: view.projects.filter((one) => one.id !== id),
      project: null,
      draft: ['', ''],
      batches: [],
      trouble: null,
    });
    history.replaceState(null, '', location.pathname);
  }

  return {
    get: () => view,
    listen: (listener: () => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    load: async () => {
      await attempt(async () => {
        const projects = await api.projects();
        const wanted = projects.find(({ id }) => `#${id}` === location.hash) ?? projects[0] ?? null;
        set({ projects, project: wanted });
      });
      set({ loaded: true });
      watch();
    },
    open,
    startNew: () => {
      set({ project: null, draft: ['', ''], batches: [], trouble: null });
      history.replaceState(null, '', location.pathname);
    },
    renameProject: (name: string) =>
      inProject(async ({ id }) => {
        await api.rename(id, name);
        set({ projects: view.projects.map((one) => (one.id === id ? { ...one, name } : one)) });
      }),
    removeProject: (id: string) =>
      attempt(async () => {
        await api.remove(id);
        await leave(id);
        const [next] = view.projects;
        if (next) await open(next.id);
      }),
    /** A new key of the project; null where that did not work. Links to its model end, so it is fetched anew. */
    makeKey: async (id: string): Promise<string | null> => {
      let key: string | null = null;
      await attempt(async () => {
        key = await api.makeKey(id);
      });
      await refresh();
      return key;
    },
    /** Ends the session: whoever comes next starts with nothing. */
    leaveBrowser: () =>
      attempt(async () => {
        await api.leave();
        location.assign(location.pathname);
      }),
    nameDraft: (index: number, name: string) => set({ draft: view.draft.with(index, name) }),
    addClass: (name: string) =>
      view.project ? inProject(({ id }) => api.addClass(id, name)) : set({ draft: [...view.draft, ''] }),
    renameClass: (classId: string, name: string) => inProject(({ id }) => api.renameClass(id, classId, name)),
    removeClass: (classId: string) => inProject(({ id }) => api.removeClass(id, classId)),
    removeDraft: (index: number) => set({ draft: view.draft.toSpliced(index, 1) }),
    /** @param which a class's id, or its place among the names of the draft. */
    addPictures: (which: string | number, files: File[]) =>
      inProject(async (project) => {
        const drafted = (place: number) =>
          (project.classes.find(({ name }) => name === draftName(place)) ?? project.classes[0]!).id;
        const classId = typeof which === 'string' ? which : drafted(which);
        watch();
        const sent = uploads.send(classId, files);
        watch();
        await sent;
      }),
    closeBatch: (id: number) => set({ batches: view.batches.filter((batch) => batch.id !== id) }),
    moveImage: (imageId: string, classId: string) => inProject(({ id }) => api.moveImage(id, imageId, classId)),
    removeImage: (imageId: string) => inProject(({ id }) => api.removeImage(id, imageId)),
    train: (stage: Stage = 'head', backbone?: string) => inProject(({ id }) => api.train(id, stage, backbone)),
    cancel: (runId: string) => inProject(({ id }) => api.cancel(id, runId)),
  };
}
