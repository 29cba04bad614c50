/** A studio in memory and the parts of a browser that the page's store needs, as global stubs. */
import { vi } from 'vitest';
import type { Project } from '#shared/words.ts';

export interface Refusal {
  status: number;
  code: string;
  params?: Record<string, unknown>;
}

export interface FakeStudio {
  projects: Map<string, Project>;
  /** `METHOD /path` of each request, in order. */
  requests: string[];
  /** Refusals by `METHOD /path`, instead of what the studio would answer; `'offline'` gives no answer at all. */
  refusals: Map<string, Refusal | 'offline'>;
  /** Runs before each upload to the bucket is answered. */
  onPost: () => Promise<void>;
}

/** Stubs `fetch` and the browser; `vi.unstubAllGlobals` removes them. */
export function stubStudio(...ids: string[]): FakeStudio {
  const studio: FakeStudio = {
    projects: new Map(ids.map((id) => [id, project(id)])),
    requests: [],
    refusals: new Map(),
    onPost: async () => {},
  };
  stubBrowser();
  vi.stubGlobal('fetch', async (url: string, { method = 'GET', body }: RequestInit = {}) => {
    if (url.startsWith('https://bucket')) {
      await studio.onPost();
      studio.requests.push(`${method} ${url}`);
      return new Response(null, { status: 204 });
    }
    const path = url.replace('/api/projects', '') || '/';
    studio.requests.push(`${method} ${path}`);
    const refusal = studio.refusals.get(`${method} ${path}`);
    if (refusal === 'offline') throw new TypeError('Failed to fetch');
    return refusal ? refuse(refusal) : answer(studio, method, path, body ? JSON.parse(String(body)) : {});
  });
  return studio;
}

function answer({ projects }: FakeStudio, method: string, path: string, body: { files?: unknown[] }): Response {
  const [, id, kind] = path.split('/');
  if (!id) return Response.json({ projects: [...projects.values()] });
  const found = projects.get(id);
  if (!found) return refuse({ status: 404, code: 'not-found', params: { what: 'project' } });
  if (!kind && method === 'DELETE') projects.delete(id);
  if (path.endsWith('/uploads')) {
    const links = body.files!.map((_, index) => ({ imageId: `${index}`, url: `https://bucket/${id}`, fields: {} }));
    return Response.json({ uploads: links }, { status: 201 });
  }
  return method === 'DELETE' ? new Response(null, { status: 204 }) : Response.json(found);
}

const refuse = ({ status, code, params = {} }: Refusal) =>
  Response.json({ status, code, params, detail: code }, { status });

const project = (id: string): Project => ({
  id,
  name: id,
  revision: 0,
  status: 'collecting',
  statusDetail: null,
  classes: ['first', 'second'].map((name) => ({
    id: `${id}-${name}`,
    name,
    images: { ready: 0, pending: 0, rejected: 0 },
  })),
  run: null,
  model: null,
  expiresAt: '2027-01-01T00:00:00Z',
});

function stubBrowser(): void {
  const storage = new Map<string, string>();
  vi.stubGlobal('localStorage', {
    getItem: (key: string) => storage.get(key) ?? null,
    setItem: (key: string, value: string) => storage.set(key, value),
  });
  vi.stubGlobal('document', { hidden: true, documentElement: { lang: '' }, addEventListener: () => {} });
  vi.stubGlobal('addEventListener', () => {});
  vi.stubGlobal('location', { hash: '', pathname: '/' });
  vi.stubGlobal('history', { replaceState: () => {} });
}
