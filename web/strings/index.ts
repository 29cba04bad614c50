import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Detail } from '#shared/words.ts';
import { en, type Strings } from './en.ts';
import { ko } from './ko.ts';

export const languages = { ko, en } as const;
export type Language = keyof typeof languages;
export type { Strings };

const place = 'language';

/** What the learner chose before, else what the browser speaks. */
export function firstLanguage(): Language {
  const chosen = localStorage.getItem(place);
  if (chosen === 'ko' || chosen === 'en') return chosen;
  return navigator.languages.some((one) => one.startsWith('ko')) ? 'ko' : 'en';
}

export function rememberLanguage(language: Language): void {
  localStorage.setItem(place, language);
  document.documentElement.lang = language;
}

export const StringsContext = createContext<Strings>(en);
export const useStrings = (): Strings => useContext(StringsContext);

/** What the API tells, in the page's language where it knows the code. */
export const sentenceOf = (strings: Strings, { code, params, message }: Detail): string =>
  strings.details[code]?.(params) ?? message;
