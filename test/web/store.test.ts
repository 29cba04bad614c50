/** The page's store against a studio in memory. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { createStore } from '../../web/store/index.ts';
import { languages, languageTags } from '../../web/strings/languages.ts';
import { type FakeStudio, stubStudio } from './fake-studio.ts';

afterEach(() => vi.unstubAllGlobals());

async function openStore(...ids: string[]) {
  const studio = stubStudio(...ids);
  const store = createStore();
  await store.project.load();
  return { studio, store };
}

const pictures = (count: number) =>
  Array.from({ length: count }, (_, index) => new File(['x'], `${index}.jpg`, { type: 'image/jpeg' }));

const refusalOf = (store: ReturnType<typeof createStore>) => store.trouble.get().refusal?.code ?? null;

describe('uploads', () => {
  /** Holds all uploads to the bucket until the returned function is called. */
  function holdPosts(studio: FakeStudio): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    studio.onPost = () => promise;
    return resolve;
  }
  const posts = ({ requests }: FakeStudio, projectId: string) =>
    requests.filter((request) => request === `POST https://bucket/${projectId}`).length;
  const hasStarted = ({ requests }: FakeStudio) => requests.some((request) => request.endsWith('/uploads'));

  test.each([
    ['another project is opened', (store: ReturnType<typeof createStore>) => store.project.open('other')],
    ['a new one is started', (store: ReturnType<typeof createStore>) => store.project.startNew()],
  ])('all pictures of a batch go to their own project when %s', async (_, leave) => {
    const { studio, store } = await openStore('mine', 'other');
    const release = holdPosts(studio);
    const sent = store.uploads.addPictures('mine-first', pictures(30));
    await expect.poll(() => hasStarted(studio)).toBe(true);
    await leave(store);
    const batch = { projectId: 'mine', classId: 'mine-first', total: 30, failed: [] };
    expect(store.uploads.get().batches).toMatchObject([batch]);
    await store.project.open('mine');
    expect(store.uploads.get().batches).toMatchObject([batch]);
    await leave(store);
    release();
    await sent;
    expect([posts(studio, 'mine'), posts(studio, 'other')]).toEqual([30, 0]);
    expect(studio.requests.filter((request) => request.includes('/other/classes'))).toEqual([]);
    expect(store.uploads.get().batches).toEqual([]);
  });

  test('failures of a batch are still listed when its project is opened again', async () => {
    const { studio, store } = await openStore('mine', 'other');
    studio.refusals.set('POST /mine/classes/mine-first/uploads', { status: 422, code: 'too-many-images' });
    const sent = store.uploads.addPictures('mine-first', pictures(2));
    await store.project.open('other');
    await sent;
    await store.project.open('mine');
    expect(store.uploads.get().batches).toMatchObject([{ projectId: 'mine', sent: 0, failed: [{}, {}] }]);
  });

  test('a batch of a project that was removed elsewhere ends, and the open project stays', async () => {
    const { studio, store } = await openStore('mine', 'other');
    const release = holdPosts(studio);
    const sent = store.uploads.addPictures('mine-first', pictures(100));
    await expect.poll(() => hasStarted(studio)).toBe(true);
    await store.project.open('other');
    studio.projects.delete('mine');
    release();
    await sent;
    expect(studio.requests.filter((request) => request.endsWith('/uploads')).length).toBeLessThanOrEqual(4);
    const { project, projects } = store.project.get();
    expect([project?.id, projects.map(({ id }) => id), store.uploads.get().batches]).toEqual(['other', ['other'], []]);
  });
});

describe('a 404', () => {
  test.each([
    ['an image', (store: ReturnType<typeof createStore>) => store.project.removeImage('i'), 'DELETE /mine/images/i'],
    ['a class', (store: ReturnType<typeof createStore>) => store.project.removeClass('c'), 'DELETE /mine/classes/c'],
    ['a run', (store: ReturnType<typeof createStore>) => store.project.cancelRun('r'), 'DELETE /mine/runs/r'],
  ])('of %s is shown and leaves the project on the page', async (what, act, request) => {
    const { studio, store } = await openStore('mine');
    studio.refusals.set(request, { status: 404, code: 'not-found', params: { what } });
    expect(await act(store)).toBe(false);
    expect([store.project.get().project?.id, refusalOf(store)]).toEqual(['mine', 'not-found']);
  });

  test.each([
    ['the project, with params', { what: 'project' }],
    ["the project's own path, without params", undefined],
  ])('of %s takes it off the page', async (_, params) => {
    const { studio, store } = await openStore('mine', 'other');
    studio.refusals.set('GET /mine', { status: 404, code: 'not-found', ...(params && { params }) });
    await store.project.renameClass('mine-first', 'x');
    const { project, projects } = store.project.get();
    expect([project, projects.map(({ id }) => id), refusalOf(store)]).toEqual([null, ['other'], null]);
  });

  test('without a code, as a proxy sends it, leaves the project on the page', async () => {
    const { studio, store } = await openStore('mine');
    studio.refusals.set('GET /mine', { status: 404, code: 'unknown' });
    await store.project.renameClass('mine-first', 'x');
    expect(store.project.get().project?.id).toBe('mine');
  });
});

describe('a refusal of an action', () => {
  async function refused() {
    const { studio, store } = await openStore('mine', 'other');
    studio.refusals.set('POST /mine/classes', { status: 409, code: 'class-exists' });
    // The action refreshes the project afterwards, which succeeds.
    expect(await store.project.addClass('first')).toBe(false);
    expect(studio.requests.at(-1)).toBe('GET /mine');
    expect(refusalOf(store)).toBe('class-exists');
    return { studio, store };
  }

  test('stays while batches finish and the page refreshes', async () => {
    const { store } = await refused();
    await store.uploads.addPictures('mine-first', pictures(3));
    expect(refusalOf(store)).toBe('class-exists');
  });

  test('ends when the learner closes it', async () => {
    const { store } = await refused();
    store.trouble.dismiss();
    expect(refusalOf(store)).toBeNull();
  });

  test('ends when an action succeeds', async () => {
    const { studio, store } = await refused();
    studio.refusals.clear();
    expect(await store.project.addClass('third')).toBe(true);
    expect(refusalOf(store)).toBeNull();
  });

  test('is shown again after the connection was lost', async () => {
    const { studio, store } = await refused();
    studio.refusals.set('GET /mine', 'offline');
    await store.uploads.addPictures('mine-first', pictures(1));
    expect(store.trouble.get()).toMatchObject({ offline: true, refusal: { code: 'class-exists' } });
    studio.refusals.delete('GET /mine');
    await store.uploads.addPictures('mine-first', pictures(1));
    expect(store.trouble.get()).toMatchObject({ offline: false, refusal: { code: 'class-exists' } });
  });
});

test('a refusal of a refresh ends with the next refresh that succeeds', async () => {
  const { studio, store } = await openStore('mine');
  studio.refusals.set('GET /mine', { status: 503, code: 'out-of-reach' });
  await store.uploads.addPictures('mine-first', pictures(1));
  expect(store.trouble.get().pollRefusal?.code).toBe('out-of-reach');
  studio.refusals.clear();
  await store.uploads.addPictures('mine-first', pictures(1));
  expect(store.trouble.get().pollRefusal).toBeNull();
});

describe('the language', () => {
  const start = (spoken: string[], chosen?: string) => {
    stubStudio();
    if (chosen) localStorage.setItem('language', chosen);
    vi.stubGlobal('navigator', { languages: spoken });
    return createStore().language;
  };

  test.each(languageTags)('%s is the first one where the browser speaks it, in any region', (tag) => {
    const language = start(['xx', `${tag}-XX`]);
    expect([language.get().language, document.documentElement.lang]).toEqual([tag, tag]);
    expect(language.strings()).toBe(languages[tag]);
  });

  test.each(languageTags)('%s is remembered where the learner chose it', (tag) => {
    const language = start(languageTags.filter((other) => other !== tag));
    language.choose(tag);
    expect([localStorage.getItem('language'), document.documentElement.lang]).toEqual([tag, tag]);
    expect(start([], tag).get().language).toBe(tag);
  });

  test('is one of ours where the browser speaks none and a removed one was chosen', () => {
    expect(languageTags).toContain(start(['xx'], 'yy').get().language);
  });
});
