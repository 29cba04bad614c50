/** One screen: a header, and three cards from pictures to a model. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { ClassesCard } from './cards/classes.tsx';
import { PreviewCard } from './cards/preview.tsx';
import { TrainingCard } from './cards/training.tsx';
import { Footer } from './footer.tsx';
import { Header } from './header.tsx';
import { createStore } from './store.ts';
import {
  firstLanguage,
  type Language,
  languages,
  rememberLanguage,
  StringsContext,
  sentenceOf,
} from './strings/index.ts';

export function App() {
  const [language, setLanguage] = useState<Language>(firstLanguage);
  const strings = languages[language];
  useEffect(() => rememberLanguage(language), [language]);

  // The names that a project starts with are in the language of the moment.
  const store = useMemo(() => {
    const now = () => languages[document.documentElement.lang === 'ko' ? 'ko' : 'en'];
    return createStore(
      () => now().untitled,
      (number) => now().classSuggestion(number),
    );
  }, []);
  const [view, setView] = useState(store.get);
  useEffect(() => {
    const stop = store.listen(() => setView(store.get()));
    void store.load();
    return () => void stop();
  }, [store]);

  const { project, trouble } = view;
  return (
    <StringsContext.Provider value={strings}>
      <Header view={view} store={store} language={language} setLanguage={setLanguage} />
      <div role="alert" class="trouble" hidden={!trouble}>
        {trouble === 'offline' ? strings.offline : trouble && sentenceOf(strings, trouble)}
      </div>
      <main class="cards" aria-busy={!view.loaded}>
        <ClassesCard view={view} store={store} />
        <TrainingCard project={project} store={store} />
        <PreviewCard project={project} store={store} />
      </main>
      <Footer view={view} store={store} />
    </StringsContext.Provider>
  );
}
