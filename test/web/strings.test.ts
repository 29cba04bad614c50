import { expect, test } from 'vitest';
import { en } from '../../web/strings/en.ts';
import { sentenceOf } from '../../web/strings/index.ts';
import { ko } from '../../web/strings/ko.ts';
import { quotedAfter } from '../../web/strings/korean.ts';

test('each language knows the same codes and artifacts, and says each in its own words', () => {
  expect(Object.keys(ko.details).sort()).toEqual(Object.keys(en.details).sort());
  expect(Object.keys(ko.artifacts)).toEqual(Object.keys(en.artifacts));
  const params = { count: 3, least: 2, classes: ['a', 'b'], room: 4, width: 5, height: 6, seconds: 90 };
  for (const code of Object.keys(en.details)) {
    const [english, korean] = [en, ko].map((strings) => sentenceOf(strings, { code, params, message: '' }));
    for (const sentence of [english!, korean!]) expect(sentence, code).not.toMatch(/undefined|NaN|object/);
    expect(korean, code).toMatch(/[가-힣]/);
    expect(english, code).not.toMatch(/[가-힣]/);
  }
});

test('a code that the page does not know is told as the API wrote it', () => {
  expect(sentenceOf(ko, { code: 'brand-new', params: {}, message: 'As it is.' })).toBe('As it is.');
});

test.each([
  ['점', '이라고'],
  ['고양이', '라고'],
  ['클래스 3', '이라고'],
  ['클래스 2', '라고'],
  ['cat', '(이)라고'],
])('%s%s', (word, particle) => {
  expect(quotedAfter(word)).toBe(particle);
});
