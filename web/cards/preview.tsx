/** The third card: a model is tried, and its files are downloaded. */
import type { Project } from '#shared/words.ts';
import type { Store } from '../store/index.ts';
import { useStrings } from '../strings/languages.ts';
import { Downloads } from './downloads.tsx';
import { ProgramKey } from './key.tsx';
import { Try } from './try.tsx';

export function PreviewCard({ project, store }: { project: Project | null; store: Store }) {
  const strings = useStrings();
  const model = project?.model ?? null;
  return (
    <section class="card" aria-labelledby="preview-title">
      <h2 id="preview-title">{strings.previewTitle}</h2>
      <p class="help">{strings.previewHelp}</p>
      {model ? (
        <>
          {model.revision !== project?.revision && <p class="hint">{strings.older}</p>}
          <Try key={project?.id} model={model} />
          <Downloads model={model} />
          <ProgramKey key={model.projectId} model={model} store={store} />
        </>
      ) : (
        <div class="empty">{strings.previewEmpty}</div>
      )}
    </section>
  );
}
