/** Client of the studio's API: JSON requests with the session's cookie; a refusal is thrown as an {@link ApiError}. */
import type { Backbone, Detail, Image, Project, Run, Stage } from '#shared/words.ts';

/** The studio refused a request; the page says `detail.code` in its own language. */
export class ApiError extends Error {
  readonly status: number;
  readonly detail: Detail;
  /** Seconds to wait, where the studio names them (429, 503). */
  readonly retryAfter: number | null;

  constructor(status: number, detail: Detail, retryAfter: number | null) {
    super(detail.message);
    this.status = status;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }
}

/** The project of a request does not exist any more. A missing class, image or run is an ordinary {@link ApiError}. */
export class ProjectGone extends ApiError {
  readonly projectId: string;

  constructor(projectId: string, detail: Detail) {
    super(404, detail, null);
    this.projectId = projectId;
  }
}

/** No answer came at all. */
export class Offline extends Error {}

export interface Upload {
  imageId: string;
  url: string;
  fields: Record<string, string>;
}

export interface UploadRequest {
  name: string;
  type: string;
  bytes: number;
}

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`/api${path}`, {
    method,
    ...(body !== undefined && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
  }).catch((cause) => {
    throw new Offline('The studio cannot be reached.', { cause });
  });
  if (response.status === 204) return undefined as T;
  if (!response.ok) throw asProjectGone(path, await readRefusal(response));
  return (await response.json().catch(() => null)) as T;
}

const inProjects = <T>(method: string, path: string, body?: unknown) => request<T>(method, `/projects${path}`, body);

async function readRefusal(response: Response): Promise<ApiError> {
  const {
    code = 'unknown',
    params = {},
    detail = response.statusText,
  } = (await response.json().catch(() => null)) ?? {};
  const retryAfter = response.headers.get('Retry-After');
  return new ApiError(response.status, { code, params, message: detail }, retryAfter ? Number(retryAfter) : null);
}

/** Recognizes the 404 of a project. A proxy's own 404 has no code and does not prove that the project is gone. */
function asProjectGone(path: string, error: ApiError): ApiError {
  const [, projectId, rest] = /^\/projects\/([^/?]+)(.*)$/.exec(path) ?? [];
  const isAboutProject = rest === '' || error.detail.params.what === 'project';
  if (error.detail.code !== 'not-found' || !projectId || !isAboutProject) return error;
  return new ProjectGone(projectId, error.detail);
}

interface CreatedProject {
  id: string;
  key: string;
  name: string;
  classes: { id: string; name: string }[];
}

export const api = {
  projects: () => inProjects<{ projects: Project[] }>('GET', '').then(({ projects }) => projects),
  createProject: (name: string, classes: string[]) => inProjects<CreatedProject>('POST', '', { name, classes }),
  project: (id: string) => inProjects<Project>('GET', `/${id}`),
  renameProject: (id: string, name: string) => inProjects<Project>('PATCH', `/${id}`, { name }),
  removeProject: (id: string) => inProjects<void>('DELETE', `/${id}`),
  makeKey: (id: string) => inProjects<{ key: string }>('POST', `/${id}/key`).then(({ key }) => key),
  endSession: () => request<void>('DELETE', '/session'),
  addClass: (id: string, name: string) => inProjects<{ id: string; name: string }>('POST', `/${id}/classes`, { name }),
  renameClass: (id: string, classId: string, name: string) =>
    inProjects<void>('PATCH', `/${id}/classes/${classId}`, { name }),
  removeClass: (id: string, classId: string) => inProjects<void>('DELETE', `/${id}/classes/${classId}`),
  images: (id: string, query: Record<string, string>) =>
    inProjects<{ images: Image[]; next: string | null }>('GET', `/${id}/images?${new URLSearchParams(query)}`),
  moveImage: (id: string, imageId: string, classId: string) =>
    inProjects<Image>('PATCH', `/${id}/images/${imageId}`, { classId }),
  removeImage: (id: string, imageId: string) => inProjects<void>('DELETE', `/${id}/images/${imageId}`),
  requestUploads: (id: string, classId: string, files: UploadRequest[]) =>
    inProjects<{ uploads: Upload[] }>('POST', `/${id}/classes/${classId}/uploads`, { files }).then(
      ({ uploads }) => uploads,
    ),
  renewUpload: (id: string, imageId: string) => inProjects<Upload>('POST', `/${id}/images/${imageId}/upload`),
  backbones: () => request<{ backbones: Backbone[] }>('GET', '/backbones').then(({ backbones }) => backbones),
  train: (id: string, stage: Stage, backbone?: string) => inProjects<Run>('POST', `/${id}/runs`, { stage, backbone }),
  run: (id: string, runId: string) => inProjects<Run>('GET', `/${id}/runs/${runId}`),
  cancelRun: (id: string, runId: string) => inProjects<Run>('DELETE', `/${id}/runs/${runId}`),
};

export interface Prediction {
  label: string | null;
  confidence: number;
  unknown: boolean;
  scores: { class: string; probability: number }[];
}

/** Classifies a picture with the model behind the signed link `url`. */
export async function predict(url: string, picture: Blob): Promise<Prediction> {
  const response = await fetch(url, { method: 'POST', body: picture, credentials: 'omit' }).catch((cause) => {
    throw new Offline('The predict function cannot be reached.', { cause });
  });
  if (!response.ok) throw await readRefusal(response);
  return (await response.json()) as Prediction;
}
