/** The language of the page: chosen by the learner and remembered, else the browser's. */
import { fallbackLanguage, isLanguage, type Language, languages, type Strings } from '../strings/languages.ts';
import { createObservable } from './observable.ts';

const storageKey = 'language';

export type LanguageStore = ReturnType<typeof createLanguageStore>;

export function createLanguageStore() {
  const { get, set, listen } = createObservable<{ language: Language }>({ language: firstLanguage() });
  const choose = (language: Language) => {
    localStorage.setItem(storageKey, language);
    document.documentElement.lang = language;
    set({ language });
  };
  choose(get().language);
  return {
    get,
    listen,
    choose,
    /** The sentences of the language that is shown at the time of the call. */
    strings: (): Strings => languages[get().language],
  };
}

function firstLanguage(): Language {
  const chosen = localStorage.getItem(storageKey);
  if (chosen && isLanguage(chosen)) return chosen;
  // A browser names regions as well: ko-KR, en-GB.
  const spoken = navigator.languages.map((tag) => tag.split('-')[0]!);
  return spoken.find(isLanguage) ?? fallbackLanguage;
}
