/** How long a project is kept, and the way out of a computer that others use too. */
import { useAsk } from './parts/ask.tsx';
import type { Store, View } from './store.ts';
import { useStrings } from './strings/index.ts';

export function Footer({ view: { project, projects }, store }: { view: View; store: Store }) {
  const strings = useStrings();
  const [question, ask] = useAsk();
  if (projects.length === 0) return null;
  return (
    <footer>
      {project && <p>{strings.expires(new Date(project.expiresAt))}</p>}
      <button
        type="button"
        class="quiet"
        onClick={() => ask(strings.leaveAsk, strings.yesLeave, store.leaveBrowser, strings.stay)}
      >
        {strings.leave}
      </button>
      {question}
    </footer>
  );
}
