/** A program that uses the API as a learner's script would: plain fetch, the owner's key, nothing of ours. */
import type { Image, Model, Project } from '#shared/words.ts';

export interface File {
  name: string;
  type: string;
  data: Uint8Array;
}

export type Learner = Awaited<ReturnType<typeof createLearner>>;

/** Creates a project with these classes and holds its key; with the `cookie` of a session, one more project of that learner. */
export async function createLearner(studioUrl: string, name: string, classNames: string[], cookie?: string) {
  const created = await answer<{ id: string; key: string; classes: { id: string; name: string }[] }>(
    await fetch(`${studioUrl}/api/projects`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...(cookie && { Cookie: cookie }) },
      body: JSON.stringify({ name, classes: classNames }),
    }),
  );
  const classes = new Map(created.classes.map((one) => [one.name, one.id]));
  const headers = { Authorization: `Bearer ${created.key}` };

  /** A call below the project. */
  const call = async <T>(method: string, path = '', body?: unknown): Promise<T> =>
    answer<T>(
      await fetch(`${studioUrl}/api/projects/${created.id}${path}`, {
        method,
        headers: { ...headers, ...(body !== undefined && { 'Content-Type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      }),
    );

  async function upload(className: string, files: File[], { atOnce = 8 } = {}): Promise<string[]> {
    const ids: string[] = [];
    for (let at = 0; at < files.length; at += 200) {
      const some = files.slice(at, at + 200);
      const { uploads } = await call<{ uploads: { imageId: string; url: string; fields: Record<string, string> }[] }>(
        'POST',
        `/classes/${classes.get(className)}/uploads`,
        { files: some.map(({ name, type, data }) => ({ name, type, bytes: data.length })) },
      );
      const waiting = uploads.map((one, index) => ({ ...one, file: some[index]! }));
      const worker = async () => {
        for (let one = waiting.shift(); one; one = waiting.shift()) await post(one, one.file);
      };
      await Promise.all(Array.from({ length: atOnce }, worker));
      ids.push(...uploads.map(({ imageId }) => imageId));
    }
    return ids;
  }

  return {
    ...created,
    classes,
    headers,
    call,
    upload,
    project: () => call<Project>('GET'),
    images: (query = '') => call<{ images: Image[]; next: string | null }>('GET', `/images${query}`),
    /** Asks until `holds`, and gives the project as it was then. */
    until: async (holds: (project: Project) => boolean, seconds = 60): Promise<Project> => {
      for (const end = Date.now() + seconds * 1000; ; ) {
        const project = await call<Project>('GET');
        if (holds(project)) return project;
        if (Date.now() > end) throw new Error(`Not so after ${seconds} s: ${JSON.stringify(project)}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    predict: async (model: Model, data: Uint8Array) =>
      answer<{
        label: string | null;
        confidence: number;
        unknown: boolean;
        scores: { class: string; probability: number }[];
      }>(await fetch(model.predictUrl, { method: 'POST', body: data as BodyInit })),
    download: async (model: Model, name: string): Promise<Buffer> => {
      const response = await fetch(model.artifacts.find((artifact) => artifact.name === name)!.url);
      if (!response.ok) throw new Error(`${name}: ${response.status} ${await response.text()}`);
      return Buffer.from(await response.arrayBuffer());
    },
  };
}

/** Sends a file by its presigned POST. */
export async function post(
  { url, fields }: { url: string; fields: Record<string, string> },
  { name, type, data }: File,
) {
  const form = new FormData();
  for (const [field, value] of Object.entries(fields)) form.append(field, value);
  form.append('file', new Blob([data as BlobPart], { type }), name);
  const response = await fetch(url, { method: 'POST', body: form });
  if (!response.ok) throw new Error(`The bucket refused ${name}: ${response.status} ${await response.text()}`);
}

async function answer<T>(response: Response): Promise<T> {
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
  return (response.status === 204 ? undefined : await response.json()) as T;
}
