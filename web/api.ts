/** The studio's API as the page calls it: JSON, the session's cookie, problems as errors. */
import type { Backbone, Detail, Image, Project, Run, Stage } from '#shared/words.ts';

/** A refusal of the studio; `code` and `params` are for the strings, `message` for what they do not know. */
export class ApiError extends Error {
  readonly status: number;
  readonly detail: Detail;
  /** Of a 429, in seconds. */
  readonly retryAfter: number | null;

  constructor(status: number, detail: Detail, retryAfter: number | null) {
    super(detail.message);
    this.status = status;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }
}

/** The studio could not be reached at all. */
export class Offline extends Error {}

export interface Upload {
  imageId: string;
  url: string;
  fields: Record<string, string>;
}

const call = <T>(method: string, path: string, body?: unknown) => ask<T>(method, `/projects${path}`, body);

async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`/api${path}`, {
    method,
    ...(body !== undefined && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
  }).catch((cause) => {
    throw new Offline('The studio is out of reach.', { cause });
  });
  if (response.status === 204) return undefined as T;
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer as T;
  const { code = 'unknown', params = {}, detail = response.statusText } = answer ?? {};
  const retryAfter = response.headers.get('Retry-After');
  throw new ApiError(response.status, { code, params, message: detail }, retryAfter ? Number(retryAfter) : null);
}

export type Created = { id: string; key: string; name: string; classes: { id: string; name: string }[] };

export const api = {
  projects: () => call<{ projects: Project[] }>('GET', '').then(({ projects }) => projects),
  create: (name: string, classes: string[]) => call<Created>('POST', '', { name, classes }),
  project: (id: string) => call<Project>('GET', `/${id}`),
  rename: (id: string, name: string) => call<Project>('PATCH', `/${id}`, { name }),
  remove: (id: string) => call<void>('DELETE', `/${id}`),
  makeKey: (id: string) => call<{ key: string }>('POST', `/${id}/key`).then(({ key }) => key),
  leave: () => ask<void>('DELETE', '/session'),
  addClass: (id: string, name: string) => call<{ id: string; name: string }>('POST', `/${id}/classes`, { name }),
  renameClass: (id: string, classId: string, name: string) =>
    call<void>('PATCH', `/${id}/classes/${classId}`, { name }),
  removeClass: (id: string, classId: string) => call<void>('DELETE', `/${id}/classes/${classId}`),
  images: (id: string, query: Record<string, string>) =>
    call<{ images: Image[]; next: string | null }>('GET', `/${id}/images?${new URLSearchParams(query)}`),
  moveImage: (id: string, imageId: string, classId: string) =>
    call<Image>('PATCH', `/${id}/images/${imageId}`, { classId }),
  removeImage: (id: string, imageId: string) => call<void>('DELETE', `/${id}/images/${imageId}`),
  askUploads: (id: string, classId: string, files: { name: string; type: string; bytes: number }[]) =>
    call<{ uploads: Upload[] }>('POST', `/${id}/classes/${classId}/uploads`, { files }).then(({ uploads }) => uploads),
  askUploadAgain: (id: string, imageId: string) => call<Upload>('POST', `/${id}/images/${imageId}/upload`),
  backbones: () => ask<{ backbones: Backbone[] }>('GET', '/backbones').then(({ backbones }) => backbones),
  train: (id: string, stage: Stage, backbone?: string) => call<Run>('POST', `/${id}/runs`, { stage, backbone }),
  run: (id: string, runId: string) => call<Run>('GET', `/${id}/runs/${runId}`),
  cancel: (id: string, runId: string) => call<Run>('DELETE', `/${id}/runs/${runId}`),
};

export interface Prediction {
  label: string | null;
  confidence: number;
  unknown: boolean;
  scores: { class: string; probability: number }[];
}

/** Asks a model about a picture by its signed link. */
export async function predict(url: string, picture: Blob): Promise<Prediction> {
  const response = await fetch(url, { method: 'POST', body: picture, credentials: 'omit' }).catch((cause) => {
    throw new Offline('predict is out of reach.', { cause });
  });
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer as Prediction;
  const { code = 'unknown', params = {}, detail = response.statusText } = answer ?? {};
  throw new ApiError(response.status, { code, params, message: detail }, null);
}
