/** Lists what each language needs a sentence for, and reads the parameters of sentences. */
import type codes from '#shared/codes.json';
import type { Detail } from '#shared/words.ts';
import { mostImageMegabytes } from '../facts.ts';

export type Params = Detail['params'];
export type Sentence = (params: Params) => string;

type Codes = typeof codes;
/** A code that a learner may read. Codes marked `forPrograms` have the API's own sentence only. */
export type LearnerCode = {
  [Code in keyof Codes]: Codes[Code] extends { forPrograms: boolean } ? never : Code;
}[keyof Codes];
/** Codes that the page reports by itself, or says in its own words though they are for programs. */
export const pageCodes = ['not-sent', 'not-found'] as const;
/** Each language has a sentence for each of these: a missing one is a type error. */
export type DetailCode = LearnerCode | (typeof pageCodes)[number];

/** Returns the size limit that a refusal names, else the default. */
export const megabytesIn = ({ megabytes }: Params): number => Number(megabytes ?? mostImageMegabytes);

/** Joins the names in a parameter that is a list. */
export const namesIn = (value: Params[string] | undefined): string => (Array.isArray(value) ? value : []).join(', ');
