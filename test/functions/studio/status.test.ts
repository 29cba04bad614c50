import { expect, test } from 'vitest';
import { type Facts, statusOf } from '../../../functions/studio/status.ts';

const of = (...ready: number[]) =>
  ready.map((count, index) => ({ name: `c${index}`, images: { ready: count, pending: 0 } }));
const run = (state: string, revision = 1) =>
  ({
    state,
    revision,
    stage: 'head',
    error: state === 'failed' ? { code: 'failed', params: {}, message: 'no' } : null,
  }) as never;
const calm: Facts = {
  revision: 1,
  due: false,
  classes: of(2, 2),
  run: run('succeeded'),
  running: false,
  queued: false,
  model: { revision: 1 },
};
const status = (facts: Partial<Facts>) => {
  const { status: word, statusDetail } = statusOf({ ...calm, ...facts });
  return [word, statusDetail?.code ?? null];
};

test.each<[string, Partial<Facts>, [string, string | null]]>([
  ['no class', { classes: [] }, ['collecting', 'needs-classes']],
  ['one class, however full', { classes: of(50) }, ['collecting', 'needs-classes']],
  ['two classes, one too small', { classes: of(2, 1) }, ['collecting', 'needs-images']],
  ['collecting comes before all else', { classes: of(2, 1), running: true, due: true }, ['collecting', 'needs-images']],
  ['a run at work', { running: true, due: true, queued: true }, ['training', null]],
  [
    'images on their way',
    { classes: [{ name: 'a', images: { ready: 2, pending: 3 } }, ...of(2)], due: true },
    ['waiting', 'uploading'],
  ],
  ['asked for', { queued: true, due: true }, ['waiting', 'queued']],
  ['due', { due: true }, ['waiting', 'settling']],
  ['the newest run failed', { run: run('failed') }, ['failed', 'failed']],
  ['fine-tuning failed', { run: { ...(run('failed') as object), stage: 'fine-tune' } as never }, ['ready', null]],
  ['a run of an older revision failed', { run: run('failed', 0) }, ['ready', null]],
  ['nothing under way', {}, ['ready', null]],
  ['a class left out', { classes: of(2, 2, 1) }, ['ready', 'left-out']],
  ['cancelled, with no model', { run: run('cancelled'), model: null }, ['waiting', 'stopped']],
  ['cancelled, with an older model', { run: run('cancelled'), model: { revision: 0 } }, ['ready', null]],
])('%s', (_, facts, expected) => {
  expect(status(facts)).toEqual(expected);
});

test('what is missing is named', () => {
  const { statusDetail } = statusOf({ ...calm, classes: of(2, 1, 0) });
  expect(statusDetail).toMatchObject({ params: { classes: ['c1', 'c2'], least: 2 } });
});
