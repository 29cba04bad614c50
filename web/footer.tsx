/** How long a project is kept, and how a learner ends the session on a computer that others use too. */
import { useAsk } from './parts/ask.tsx';
import type { Store } from './store/index.ts';
import { useObserved } from './store/observable.ts';
import { useStrings } from './strings/languages.ts';

export function Footer({ store }: { store: Store }) {
  const strings = useStrings();
  const { project, projects } = useObserved(store.project);
  const [question, ask] = useAsk();
  if (projects.length === 0) return null;
  return (
    <footer>
      {project && <p>{strings.expires(new Date(project.expiresAt))}</p>}
      <button
        type="button"
        class="quiet"
        onClick={() => ask(strings.leaveAsk, strings.yesLeave, store.project.endSession, strings.stay)}
      >
        {strings.leave}
      </button>
      {question}
    </footer>
  );
}
