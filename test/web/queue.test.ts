import { expect, test } from 'vitest';
import { ApiError, type Upload } from '../../web/api.ts';
import { NotSendable } from '../../web/uploads/prepare.ts';
import { type Batch, createUploads, PostRefused } from '../../web/uploads/queue.ts';

const files = (count: number) =>
  Array.from({ length: count }, (_, index) => new File(['x'], `${index}.jpg`, { type: 'image/jpeg' }));
const detail = (code: string) => ({ code, params: {}, message: code });

/** An upload queue with a network that behaves unless told otherwise. */
function queue(change: Partial<Parameters<typeof createUploads>[0]> = {}) {
  let ids = 0;
  const seen = { asked: 0, again: 0, posted: 0, waited: [] as number[], changes: [] as Batch[], preparing: 0, most: 0 };
  const link = (): Upload => ({ imageId: `${ids++}`, url: 'u', fields: {} });
  const uploads = createUploads({
    ask: async (_, some) => {
      seen.asked += some.length;
      return some.map(link);
    },
    askAgain: async () => {
      seen.again++;
      return link();
    },
    post: async () => {
      seen.posted++;
    },
    prepare: async (file) => {
      seen.most = Math.max(seen.most, ++seen.preparing);
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

test('every file is sent once, a few at a time, and told of', async () => {
  const { uploads, seen } = queue();
  const batch = await uploads.send('class', files(100));
  expect(batch).toMatchObject({ total: 100, sent: 100, failed: [] });
  expect([seen.asked, seen.posted, seen.again]).toEqual([100, 100, 0]);
  expect(seen.most).toBeLessThanOrEqual(2);
  expect(seen.changes.at(-1)).toMatchObject({ sent: 100 });
});

test('a network that is away is waited for, however long; then all is sent by fresh links', async () => {
  let fails = 12;
  const { uploads, seen } = queue({
    post: async () => {
      if (fails-- > 0) throw new TypeError('Failed to fetch');
    },
  });
  const batch = await uploads.send('class', files(1));
  expect(batch).toMatchObject({ sent: 1, failed: [], paused: null });
  expect(seen.changes.some(({ paused }) => paused === 'offline')).toBe(true);
  expect(seen.again).toBe(12);
  expect(Math.max(...seen.waited)).toBeLessThanOrEqual(30 * 1.25);
});

test('a busy studio is given the time that it asks for, as often as it does', async () => {
  let busy = 10;
  const { uploads, seen } = queue({
    ask: async (_, some) => {
      if (busy-- > 0) throw new ApiError(429, detail('too-many'), 40);
      return some.map((_, index) => ({ imageId: `${index}`, url: 'u', fields: {} }));
    },
  });
  expect((await uploads.send('class', files(3))).sent).toBe(3);
  expect(Math.min(...seen.waited)).toBeGreaterThanOrEqual(40);
  // And the learner is told why.
  expect(seen.changes.map(({ paused }) => paused)).toContainEqual(detail('too-many'));
});

test('what cannot be sent fails by itself, with its reason; the others go', async () => {
  const { uploads } = queue({
    prepare: async (file) => {
      if ((file as File).name === '3.jpg') throw new NotSendable('not-an-image');
      return file;
    },
  });
  const batch = await uploads.send('class', files(8));
  expect(batch.sent).toBe(7);
  expect(batch.failed).toMatchObject([{ name: '3.jpg', reason: { code: 'not-an-image' } }]);
});

test('a refusal that another try cannot mend ends the tries', async () => {
  const { uploads, seen } = queue({
    ask: async () => {
      throw new ApiError(422, detail('too-many-images'), null);
    },
  });
  const batch = await uploads.send('class', files(2));
  expect(batch.failed.map(({ reason }) => reason.code)).toEqual(['too-many-images', 'too-many-images']);
  expect(seen.waited).toEqual([]);
});

test('a bucket that refuses is asked with fresh links twice', async () => {
  const { uploads, seen } = queue({
    post: async () => {
      throw new PostRefused('403');
    },
  });
  const batch = await uploads.send('class', files(1));
  expect([batch.sent, batch.failed[0]!.reason.code, seen.again]).toEqual([0, 'not-sent', 2]);
});

test('a picture whose answer was lost counts as sent', async () => {
  const { uploads } = queue({
    post: async () => {
      throw new TypeError('reset');
    },
    askAgain: async () => {
      throw new ApiError(409, detail('not-pending'), null);
    },
  });
  expect(await uploads.send('class', files(1))).toMatchObject({ sent: 1, failed: [] });
});
