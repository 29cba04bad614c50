import { describe, expect, test } from 'vitest';
import artifacts from '#shared/artifacts.json' with { type: 'json' };
import codes from '#shared/codes.json' with { type: 'json' };
import images from '#shared/images.json' with { type: 'json' };
import { quotedAfter } from '../../web/strings/korean.ts';
import { languages, languageTags, sentenceOf } from '../../web/strings/languages.ts';
import { pageCodes, type Sentence } from '../../web/strings/sentence.ts';

const learnerCodes = Object.entries(codes).flatMap(([code, entry]) => ('forPrograms' in entry ? [] : [code]));
const detailCodes = [...new Set([...learnerCodes, ...pageCodes])].sort();

test('forPrograms is true wherever codes.json has it: types see only that it is there', () => {
  for (const [code, entry] of Object.entries(codes)) {
    if ('forPrograms' in entry) expect(entry.forPrograms, code).toBe(true);
  }
});

describe.each(languageTags)('%s', (tag) => {
  const strings = languages[tag];
  const params = { count: 3, least: 2, classes: ['a', 'b'], room: 4, width: 5, height: 6, seconds: 90, megabytes: 7 };

  test('each code that a learner may read and each artifact has a sentence', () => {
    expect(Object.keys(strings.details).sort()).toEqual(detailCodes);
    expect(Object.keys(strings.artifacts).sort()).toEqual(Object.keys(artifacts).sort());
  });

  test('each sentence takes the parameters of its code', () => {
    for (const code of detailCodes) {
      const sentence = sentenceOf(strings, { code, params, message: '' });
      expect(sentence, code).toMatch(/\S/);
      expect(sentence, code).not.toMatch(/undefined|NaN|object/);
    }
  });

  test('each sentence about pictures names the types and the size of images.json', () => {
    const details: Record<string, Sentence> = strings.details;
    for (const code of ['not-an-image', 'unsupported-type']) {
      for (const { name } of Object.values(images.types)) expect(details[code]!({}), code).toContain(name);
    }
    expect(details['too-large']!({})).toContain(`${images.bytes / 1e6} MB`);
    expect(details['too-large']!({ megabytes: 7 })).toContain('7 MB');
  });

  test('no sentence is that of another language', () => {
    for (const other of languageTags.filter((item) => item !== tag)) {
      for (const code of detailCodes) {
        const [own, foreign] = [strings, languages[other]].map((item) =>
          sentenceOf(item, { code, params, message: '' }),
        );
        expect(own, code).not.toBe(foreign);
      }
    }
  });

  test('a code that the page does not know is shown in the words of the API', () => {
    expect(sentenceOf(strings, { code: 'brand-new', params: {}, message: 'As it is.' })).toBe('As it is.');
  });
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
