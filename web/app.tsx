/** The page: a header, and three cards on the way from pictures to a model. */
import { ClassesCard } from './cards/classes.tsx';
import { PreviewCard } from './cards/preview.tsx';
import { TrainingCard } from './cards/training.tsx';
import { Footer } from './footer.tsx';
import { Header } from './header.tsx';
import type { Store } from './store/index.ts';
import { useObserved } from './store/observable.ts';
import { languages, StringsContext } from './strings/languages.ts';
import { TroubleBar } from './trouble-bar.tsx';

export function App({ store }: { store: Store }) {
  const { language } = useObserved(store.language);
  const { project, loaded } = useObserved(store.project);
  return (
    <StringsContext.Provider value={languages[language]}>
      <Header store={store} />
      <TroubleBar trouble={store.trouble} />
      <main class="cards" aria-busy={!loaded}>
        <ClassesCard store={store} />
        <TrainingCard project={project} store={store} />
        <PreviewCard project={project} store={store} />
      </main>
      <Footer store={store} />
    </StringsContext.Provider>
  );
}
