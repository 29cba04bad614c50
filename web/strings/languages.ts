/** How the page finds its sentences. A language is added in index.ts, not here. */
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Detail } from '#shared/words.ts';
import type { Strings } from './en.ts';
import * as byTag from './index.ts';
import type { Sentence } from './sentence.ts';

export type Language = keyof typeof byTag;
export type { Strings };

export const languages: Record<Language, Strings> = byTag;
export const languageTags = Object.keys(languages) as Language[];
export const isLanguage = (tag: string): tag is Language => languageTags.includes(tag as Language);
/** A browser that speaks none of the page's languages gets this one. */
export const fallbackLanguage: Language = 'en';

export const StringsContext = createContext<Strings>(languages[fallbackLanguage]);
export const useStrings = (): Strings => useContext(StringsContext);

/** Returns the language's sentence for a code, or the API's own where the page does not know the code. */
export function sentenceOf(strings: Strings, { code, params, message }: Detail): string {
  const details: Partial<Record<string, Sentence>> = strings.details;
  return details[code]?.(params) ?? message;
}
