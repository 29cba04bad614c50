/** What each language needs a sentence for, and how sentences read their parameters. */
import type codes from '#shared/codes.json';
import type { Detail } from '#shared/words.ts';
import { mostImageMegabytes } from '../facts.ts';

export type Params = Detail['params'];
export type Sentence = (params: Params) => string;

type Codes = typeof codes;
/** Codes that a learner may read. Those marked `forPrograms` have the API's own sentence only. */
export type LearnerCode = {
  [Code in keyof Codes]: Codes[Code] extends { forPrograms: boolean } ? never : Code;
}[keyof Codes];
/** Codes that the page reports by itself, or says in its own words though they are for programs. */
export const pageCodes = ['not-sent', 'not-found'] as const;
/** Each language has a sentence for each of these: a missing one is a type error. */
export type DetailCode = LearnerCode | (typeof pageCodes)[number];

/** The size limit that a refusal names, or else the default one. */
export const megabytesIn = ({ megabytes }: Params): number => Number(megabytes ?? mostImageMegabytes);

/** The names in a parameter that is a list. */
export const namesIn = (value: Params[string] | undefined): string => (Array.isArray(value) ? value : []).join(', ');
