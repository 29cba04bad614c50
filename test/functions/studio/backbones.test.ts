import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseBackbones } from '#shared/backbones.ts';
import { runs } from '#shared/schema.ts';
import { createTestStudio, type TestStudio } from '../../support/studio.ts';

const names = ['efficientnet-lite2', 'convnextv2-nano', 'timm/convnext_tiny.fb_in22k'];
let studio: TestStudio;
beforeAll(async () => {
  studio = await createTestStudio({ BACKBONES: names.join(', ') });
});
afterAll(() => studio.close());

test('those that are offered are described to anybody, the default first', async () => {
  const answer = await studio.ask('GET', '/api/backbones');
  expect(answer.status).toBe(200);
  expect(await answer.json()).toEqual({
    backbones: [
      { name: names[0], words: 'closer', megabytes: 19, license: 'Apache-2.0' },
      { name: names[1], words: null, megabytes: 60, license: 'CC-BY-NC-4.0' },
      { name: names[2], words: null, megabytes: null, license: null },
    ],
  });
});

test('a run takes one of them, what was chosen stays chosen, and others are refused by a sentence that names them', async () => {
  const { id, key } = await studio.create();
  const train = (body: object) => studio.ask('POST', `/api/projects/${id}/runs`, { key, body });
  const kept = async () =>
    (await studio.postgres.db.select().from(runs).orderBy(runs.createdAt)).map(({ backbone }) => backbone);
  expect((await train({})).status).toBe(202);
  expect(await kept()).toEqual([names[0]]);
  expect((await train({ backbone: names[2] })).status).toBe(202);
  expect((await train({ stage: 'fine-tune' })).status).toBe(202);
  expect((await kept()).sort()).toEqual([names[0], names[2], names[2]]);
  for (const backbone of ['efficientnet-lite0', 'timm/vit_tiny_patch16_224.augreg_in21k', 'resnet']) {
    const refused = await train({ backbone });
    expect(refused.status).toBe(422);
    expect(await refused.json()).toMatchObject({
      code: 'unknown-backbone',
      detail: `There is no backbone ${backbone}. Expected one of ${names.join(', ')}.`,
    });
  }
});

test.each([['resnet'], ['efficientnet-lite0,,timm/x'], ['timm/../../etc'], ['timm/a b']])(
  'BACKBONES=%s is refused by a sentence that says what can be there',
  (given) => {
    expect(() => parseBackbones(given)).toThrow(/^names .*efficientnet-lite0, .* timm\/NAME/);
  },
);
