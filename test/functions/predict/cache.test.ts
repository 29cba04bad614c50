import { expect, test } from 'vitest';
import { createCache } from '../../../functions/predict/cache.ts';

function counting(most: number) {
  const loads: string[] = [];
  const released: string[] = [];
  const cache = createCache<string>(most, async (value) => void released.push(value));
  const load = (key: string) => async () => {
    loads.push(key);
    await new Promise((resolve) => setTimeout(resolve, 1));
    return key;
  };
  const ask = (key: string) => cache.use(key, load(key), async (value) => value);
  return { cache, loads, released, load, ask };
}

test('two who ask at once share one load', async () => {
  const { ask, loads } = counting(2);
  expect(await Promise.all(['a', 'a', 'a', 'b'].map(ask))).toEqual(['a', 'a', 'a', 'b']);
  expect(loads).toEqual(['a', 'b']);
});

test('the longest unused goes first', async () => {
  const { ask, cache, released } = counting(2);
  for (const key of ['a', 'b', 'a', 'c']) await ask(key);
  expect(cache.keys()).toEqual(['a', 'c']);
  expect(released).toEqual(['b']);
});

test('what is in use is released by its last user, however early it was dropped', async () => {
  const { cache, load, released } = counting(2);
  await cache.use('a', load('a'), async () => {
    await cache.use('a', load('a'), async () => cache.drop('a'));
    expect(released).toEqual([]);
    expect(cache.keys()).toEqual([]);
  });
  await cache.close();
  expect(released).toEqual(['a']);
});

test('a load that failed is not kept', async () => {
  const { cache, ask, loads, released } = counting(2);
  const failing = () => Promise.reject(new Error('gone'));
  await expect(cache.use('a', failing, async () => 0)).rejects.toThrow('gone');
  expect(await ask('a')).toBe('a');
  expect([loads, released]).toEqual([['a'], []]);
});

test('closing waits until all is released', async () => {
  const { cache, ask, released } = counting(3);
  await Promise.all(['a', 'b'].map(ask));
  await cache.close();
  expect(released.sort()).toEqual(['a', 'b']);
});
