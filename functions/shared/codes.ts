/** Codes and their sentences (codes.json): each condition that is reported to somebody has one code and one sentence. */
import codes from './codes.json' with { type: 'json' };
import type { Detail } from './words.ts';

export type Code = keyof typeof codes;
export type Params = Record<string, unknown>;

interface Entry {
  message: string;
  /** HTTP status of an answer that reports it. */
  status?: number;
}

/** What a learner reads: `code` and `params` for the page's own sentence, `message` for other programs. */
export const detailOf = (code: Code, params: Params = {}): Detail => ({
  code,
  params: params as Detail['params'],
  message: messageOf(code, params),
});

/** The sentence of `code` in English, with `{name}` replaced by `params.name`; a list is joined by commas. */
export function messageOf(code: Code, params: Params): string {
  const { message }: Entry = codes[code];
  return message.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name];
    return Array.isArray(value) ? value.join(', ') : String(value);
  });
}

/** @throws Error when `code` is never the reason of an answer: it has no status. */
export function statusOfCode(code: Code): number {
  const { status }: Entry = codes[code];
  if (status === undefined) throw new Error(`The code ${code} has no HTTP status in codes.json.`);
  return status;
}

export const isCode = (code: string): code is Code => code in codes;
