/**
 * Files on their way to the bucket. Only a handful are prepared and sent at once, whatever the number that was dropped: the
 * rest are handles to files, so memory does not grow with them. Links are asked for just ahead of need and do not expire.
 */
import type { Detail } from '#shared/words.ts';
import { ApiError, type Upload } from '../api.ts';
import { NotSendable } from './prepare.ts';

export interface Batch {
  id: number;
  classId: string;
  total: number;
  sent: number;
  /** Those that could not be sent, with their reason; the page shows the first ones. */
  failed: { name: string; reason: Detail }[];
  /** Why nothing is sent at the moment, the network or what the studio said; sending goes on by itself. */
  paused: 'offline' | Detail | null;
}

interface Sending {
  ask: (classId: string, files: { name: string; type: string; bytes: number }[]) => Promise<Upload[]>;
  askAgain: (imageId: string) => Promise<Upload>;
  post: (upload: Upload, picture: Blob) => Promise<void>;
  prepare: (file: Blob) => Promise<Blob>;
  wait: (seconds: number) => Promise<void>;
  onChange: (batch: Batch) => void;
}

/** The bucket refused: a fresh link may help, or the picture is not what it should be. */
export class PostRefused extends Error {}

const atOnce = 2;
const perRequest = 6;
const mostTries = 6;

export function createUploads({ ask, askAgain, post, prepare, wait, onChange }: Sending) {
  let batches = 0;

  /** Sends `files` to a class; resolves when each was sent or has failed. */
  async function send(classId: string, files: File[]): Promise<Batch> {
    const batch: Batch = { id: ++batches, classId, total: files.length, sent: 0, failed: [], paused: null };
    let taken = 0;
    onChange({ ...batch });
    const worker = async () => {
      for (;;) {
        const some = files.slice(taken, taken + perRequest);
        if (some.length === 0) return;
        taken += some.length;
        await sendSome(batch, some);
      }
    };
    // One prepares while the other sends.
    await Promise.all(Array.from({ length: atOnce }, worker));
    return batch;
  }

  async function sendSome(batch: Batch, files: File[]): Promise<void> {
    const ready: { file: File; picture: Blob }[] = [];
    for (const file of files) {
      try {
        ready.push({ file, picture: await prepare(file) });
      } catch (error) {
        fail(batch, file, reasonOf(error));
      }
    }
    if (ready.length === 0) return;
    try {
      const described = ready.map(({ file, picture }) => ({
        name: file.name,
        type: picture.type,
        bytes: picture.size,
      }));
      const uploads = await patiently(batch, () => ask(batch.classId, described));
      await Promise.all(ready.map((one, index) => sendOne(batch, one.file, one.picture, uploads[index]!)));
    } catch (error) {
      for (const { file } of ready) fail(batch, file, reasonOf(error));
    }
  }

  async function sendOne(batch: Batch, file: File, picture: Blob, first: Upload): Promise<void> {
    let upload = first;
    try {
      await patiently(batch, async (tries) => {
        if (tries > 0) upload = await askAgain(first.imageId);
        await post(upload, picture);
      });
      batch.sent++;
      onChange({ ...batch });
    } catch (error) {
      // It came after all: the answer was lost, not the picture.
      if (error instanceof ApiError && error.detail.code === 'not-pending') {
        batch.sent++;
        onChange({ ...batch });
      } else fail(batch, file, reasonOf(error));
    }
  }

  /** Tries again what a bad network or a busy server may have caused, with growing, jittered pauses. */
  async function patiently<T>(batch: Batch, work: (tries: number) => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        const done = await work(tries);
        if (batch.paused) onChange({ ...Object.assign(batch, { paused: null }) });
        return done;
      } catch (error) {
        const refused = error instanceof ApiError && error.status !== 429 && error.status < 500;
        if (refused || (error instanceof PostRefused && tries >= 2)) throw error;
        const paused = pauseOf(error);
        // There is no end of patience without a network, or when the studio says how long to wait: the files are still there then.
        if (!paused && tries >= mostTries) throw error;
        if (paused && (tries > 0 || paused !== 'offline')) onChange({ ...Object.assign(batch, { paused }) });
        const asked = error instanceof ApiError ? error.retryAfter : null;
        await wait(
          asked === null ? Math.min(30, 2 ** tries) * (0.75 + Math.random() / 2) : asked * (1 + Math.random() / 4),
        );
      }
    }
  }

  function fail(batch: Batch, file: File, reason: Detail): void {
    batch.failed.push({ name: file.name, reason });
    onChange({ ...batch });
  }

  return { send };
}

function pauseOf(error: unknown): Batch['paused'] {
  if (error instanceof ApiError) return error.status === 429 ? error.detail : null;
  return error instanceof PostRefused ? null : 'offline';
}

function reasonOf(error: unknown): Detail {
  if (error instanceof ApiError) return error.detail;
  const code = error instanceof NotSendable ? error.code : 'not-sent';
  return { code, params: {}, message: error instanceof Error ? error.message : String(error) };
}

/** Sends a picture by its presigned POST; the file goes last. */
export async function postPicture({ url, fields }: Upload, picture: Blob): Promise<void> {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append('file', picture);
  const response = await fetch(url, { method: 'POST', body: form, credentials: 'omit' });
  if (!response.ok) throw new PostRefused(`The bucket answered ${response.status}.`);
}
