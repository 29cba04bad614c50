/** How long a project is kept, and the way out of a computer that others use too. */
import type { Project } from '#shared/words.ts';
import { useAsk } from './parts/ask.tsx';
import type { Store } from './store.ts';
import { useStrings } from './strings/index.ts';

export function Footer({ project, store }: { project: Project | null; store: Store }) {
  const strings = useStrings();
  const [question, ask] = useAsk();
  if (!project) return null;
  return (
    <footer>
      <p>{strings.expires(new Date(project.expiresAt))}</p>
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
