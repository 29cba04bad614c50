/**
 * Sends files to the bucket. Only a few are prepared and sent at a time, however many were dropped: the rest are handles to
 * files, so memory does not grow with their number. Upload links are requested just ahead of need, so they do not expire.
 */
import type { Detail } from '#shared/words.ts';
import { ApiError, type Upload, type UploadRequest } from '../api.ts';
import { NotSendable } from './prepare-picture.ts';

/** Where pictures go. It is fixed when a batch is made, whatever the learner opens afterwards. */
export interface Target {
  projectId: string;
  classId: string;
}

/** The files of one drop or choice. */
export interface Batch extends Target {
  id: number;
  total: number;
  sent: number;
  /** Files that could not be sent, with the reason; the page shows the first ones. */
  failed: { name: string; reason: Detail }[];
  /** Why nothing is sent at the moment: the network, or the studio's refusal. Sending resumes without the learner. */
  paused: 'offline' | Detail | null;
}

export const isFinished = ({ total, sent, failed }: Batch): boolean => sent + failed.length >= total;

interface UploadDeps {
  requestUploads: (target: Target, files: UploadRequest[]) => Promise<Upload[]>;
  renewUpload: (target: Target, imageId: string) => Promise<Upload>;
  post: (upload: Upload, picture: Blob) => Promise<void>;
  prepare: (file: Blob) => Promise<Blob>;
  wait: (seconds: number) => Promise<void>;
  onChange: (batch: Batch) => void;
}

/** The bucket refused a picture; a fresh link may help. */
export class PostRefused extends Error {}

/** One chunk is prepared while the other one is sent. */
const chunksAtOnce = 2;
const filesPerChunk = 6;
const mostRetries = 6;
const mostFreshLinks = 2;
const longestPauseSeconds = 30;

interface Job {
  deps: UploadDeps;
  batch: Batch;
  /** When it aborts, nothing more is sent and no change is reported. */
  signal: AbortSignal;
}

interface Prepared {
  file: File;
  picture: Blob;
}

export function createUploadQueue(deps: UploadDeps) {
  let batchCount = 0;
  /** Sends `files` to a class; resolves when each is sent or has failed, or when `signal` aborts. */
  async function send(target: Target, files: File[], signal = new AbortController().signal): Promise<Batch> {
    const batch: Batch = { ...target, id: ++batchCount, total: files.length, sent: 0, failed: [], paused: null };
    const job = { deps, batch, signal };
    change(job, {});
    let position = 0;
    const sendChunks = async () => {
      while (position < files.length && !signal.aborted) {
        const chunk = files.slice(position, position + filesPerChunk);
        position += chunk.length;
        await sendChunk(job, chunk);
      }
    };
    await Promise.all(Array.from({ length: chunksAtOnce }, sendChunks));
    return batch;
  }
  return { send };
}

async function sendChunk(job: Job, files: File[]): Promise<void> {
  const prepared = await prepareChunk(job, files);
  if (prepared.length === 0) return;
  try {
    const described = prepared.map(({ file, picture }) => ({
      name: file.name,
      type: picture.type,
      bytes: picture.size,
    }));
    const uploads = await retry(job, () => job.deps.requestUploads(job.batch, described));
    await Promise.all(prepared.map((item, index) => sendPicture(job, item, uploads[index]!)));
  } catch (error) {
    for (const { file } of prepared) fail(job, file, error);
  }
}

async function prepareChunk(job: Job, files: File[]): Promise<Prepared[]> {
  const prepared: Prepared[] = [];
  for (const file of files) {
    try {
      prepared.push({ file, picture: await job.deps.prepare(file) });
    } catch (error) {
      fail(job, file, error);
    }
  }
  return prepared;
}

async function sendPicture(job: Job, { file, picture }: Prepared, first: Upload): Promise<void> {
  const { deps, batch } = job;
  let upload = first;
  try {
    await retry(job, async (retries) => {
      if (retries > 0) upload = await deps.renewUpload(batch, first.imageId);
      await deps.post(upload, picture);
    });
  } catch (error) {
    // The picture did arrive: only the bucket's answer was lost.
    const arrived = error instanceof ApiError && error.detail.code === 'not-pending';
    if (!arrived) return fail(job, file, error);
  }
  change(job, { sent: batch.sent + 1 });
}

/** Retries what a bad network or a busy server may have caused, after growing pauses with jitter. */
async function retry<T>(job: Job, work: (retries: number) => Promise<T>): Promise<T> {
  for (let retries = 0; ; retries++) {
    job.signal.throwIfAborted();
    try {
      const result = await work(retries);
      if (job.batch.paused) change(job, { paused: null });
      return result;
    } catch (error) {
      if (isFinal(error, retries)) throw error;
      const paused = pauseOf(error);
      // The first failure of the network is often the only one, so it is not shown.
      if (paused && (retries > 0 || paused !== 'offline')) change(job, { paused });
      await job.deps.wait(secondsBefore(error, retries));
    }
  }
}

/** Without a network, and while the studio asks for time, there is no last retry: the files stay where they are. */
function isFinal(error: unknown, retries: number): boolean {
  if (error instanceof ApiError && error.status !== 429 && error.status < 500) return true;
  if (error instanceof PostRefused && retries >= mostFreshLinks) return true;
  return pauseOf(error) === null && retries >= mostRetries;
}

function secondsBefore(error: unknown, retries: number): number {
  const asked = error instanceof ApiError ? error.retryAfter : null;
  if (asked !== null) return asked * (1 + Math.random() / 4);
  return Math.min(longestPauseSeconds, 2 ** retries) * (0.75 + Math.random() / 2);
}

function pauseOf(error: unknown): Batch['paused'] {
  if (error instanceof ApiError) return error.status === 429 ? error.detail : null;
  return error instanceof PostRefused ? null : 'offline';
}

function fail(job: Job, file: File, error: unknown): void {
  job.batch.failed.push({ name: file.name, reason: reasonOf(error) });
  change(job, {});
}

function change({ deps, batch, signal }: Job, values: Partial<Batch>): void {
  Object.assign(batch, values);
  if (!signal.aborted) deps.onChange({ ...batch });
}

function reasonOf(error: unknown): Detail {
  if (error instanceof ApiError || error instanceof NotSendable) return error.detail;
  return { code: 'not-sent', params: {}, message: error instanceof Error ? error.message : String(error) };
}

/** Sends a picture by its presigned POST, whose last field has to be the file. */
export async function postPicture({ url, fields }: Upload, picture: Blob): Promise<void> {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append('file', picture);
  const response = await fetch(url, { method: 'POST', body: form, credentials: 'omit' });
  if (!response.ok) throw new PostRefused(`The bucket answered ${response.status}.`);
}
