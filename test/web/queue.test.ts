import { expect, test } from 'vitest';
import { ApiError, type Upload } from '../../web/api.ts';
import { NotSendable } from '../../web/uploads/prepare-picture.ts';
import { type Batch, createUploadQueue, PostRefused } from '../../web/uploads/queue.ts';

const files = (count: number) =>
  Array.from({ length: count }, (_, index) => new File(['x'], `${index}.jpg`, { type: 'image/jpeg' }));
const detail = (code: string) => ({ code, params: {}, message: code });

const target = { projectId: 'project', classId: 'class' };

/** Creates an upload queue whose network works, unless `change` replaces a part of it. */
function queue(change: Partial<Parameters<typeof createUploadQueue>[0]> = {}) {
  let ids = 0;
  const seen = {
    requested: 0,
    renewed: 0,
    posted: 0,
    waited: [] as number[],
    changes: [] as Batch[],
    preparing: 0,
    mostPreparing: 0,
  };
  const link = (): Upload => ({ imageId: `${ids++}`, url: 'u', fields: {} });
  const uploads = createUploadQueue({
    requestUploads: async (_, chunk) => {
      seen.requested += chunk.length;
      return chunk.map(link);
    },
    renewUpload: async () => {
      seen.renewed++;
      return link();
    },
    post: async () => {
      seen.posted++;
    },
    prepare: async (file) => {
      seen.mostPreparing = Math.max(seen.mostPreparing, ++seen.preparing);
      await new Promise((resolve) => setTimeout(resolve, 0));
      seen.preparing--;
      return file;
    },
    wait: async (seconds) => {
      seen.waited.push(seconds);
    },
    onChange: (batch) => seen.changes.push(batch),
    ...change,
  });
  return { uploads, seen };
}

test('every file is sent once, a few at a time, and each change is reported', async () => {
  const { uploads, seen } = queue();
  const batch = await uploads.send(target, files(100));
  expect(batch).toMatchObject({ total: 100, sent: 100, failed: [] });
  expect([seen.requested, seen.posted, seen.renewed]).toEqual([100, 100, 0]);
  expect(seen.mostPreparing).toBeLessThanOrEqual(2);
  expect(seen.changes.at(-1)).toMatchObject({ sent: 100 });
});

test('without a network the queue waits, however long; then it sends by fresh links', async () => {
  let fails = 12;
  const { uploads, seen } = queue({
    post: async () => {
      if (fails-- > 0) throw new TypeError('Failed to fetch');
    },
  });
  const batch = await uploads.send(target, files(1));
  expect(batch).toMatchObject({ sent: 1, failed: [], paused: null });
  expect(seen.changes.some(({ paused }) => paused === 'offline')).toBe(true);
  expect(seen.renewed).toBe(12);
  expect(Math.max(...seen.waited)).toBeLessThanOrEqual(30 * 1.25);
});

test('the queue waits as long as a busy studio asks, and as often', async () => {
  let busy = 10;
  const { uploads, seen } = queue({
    requestUploads: async (_, chunk) => {
      if (busy-- > 0) throw new ApiError(429, detail('too-many'), 40);
      return chunk.map((_, index) => ({ imageId: `${index}`, url: 'u', fields: {} }));
    },
  });
  expect((await uploads.send(target, files(3))).sent).toBe(3);
  expect(Math.min(...seen.waited)).toBeGreaterThanOrEqual(40);
  // The learner sees the reason.
  expect(seen.changes.map(({ paused }) => paused)).toContainEqual(detail('too-many'));
});

test('a file that cannot be sent fails with its reason; the others are sent', async () => {
  const { uploads } = queue({
    prepare: async (file) => {
      if ((file as File).name === '3.jpg') throw new NotSendable({ code: 'not-an-image', params: {} });
      return file;
    },
  });
  const batch = await uploads.send(target, files(8));
  expect(batch.sent).toBe(7);
  expect(batch.failed).toMatchObject([{ name: '3.jpg', reason: { code: 'not-an-image' } }]);
});

test('a refusal that a retry cannot change is not retried', async () => {
  const { uploads, seen } = queue({
    requestUploads: async () => {
      throw new ApiError(422, detail('too-many-images'), null);
    },
  });
  const batch = await uploads.send(target, files(2));
  expect(batch.failed.map(({ reason }) => reason.code)).toEqual(['too-many-images', 'too-many-images']);
  expect(seen.waited).toEqual([]);
});

test('a refusal of the bucket is retried with two fresh links', async () => {
  const { uploads, seen } = queue({
    post: async () => {
      throw new PostRefused('403');
    },
  });
  const batch = await uploads.send(target, files(1));
  expect([batch.sent, batch.failed[0]!.reason.code, seen.renewed]).toEqual([0, 'not-sent', 2]);
});

test('a picture whose answer was lost counts as sent', async () => {
  const { uploads } = queue({
    post: async () => {
      throw new TypeError('reset');
    },
    renewUpload: async () => {
      throw new ApiError(409, detail('not-pending'), null);
    },
  });
  expect(await uploads.send(target, files(1))).toMatchObject({ sent: 1, failed: [] });
});

test('an aborted batch sends nothing more and reports nothing more', async () => {
  const controller = new AbortController();
  const { uploads, seen } = queue({
    post: async () => {
      controller.abort();
    },
  });
  await uploads.send(target, files(100), controller.signal);
  expect(seen.requested).toBeLessThanOrEqual(12);
  expect(seen.changes.every(({ sent }) => sent === 0)).toBe(true);
});
