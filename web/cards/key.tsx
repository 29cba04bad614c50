/** A key with which a program can ask the model. A new key replaces the one before. */
import { useState } from 'preact/hooks';
import type { Model } from '#shared/words.ts';
import type { Store } from '../store/index.ts';
import { useStrings } from '../strings/languages.ts';

export function ProgramKey({ model, store }: { model: Model; store: Store }) {
  const strings = useStrings();
  const [key, setKey] = useState<string | null>(null);
  const { origin, pathname } = new URL(model.predictUrl);
  const command = `curl --data-binary @picture.jpg -H 'Authorization: Bearer ${key}' ${origin}${pathname}`;
  return (
    <details class="program">
      <summary>{strings.programs}</summary>
      <p class="hint">{strings.programsHelp}</p>
      <button type="button" onClick={async () => setKey(await store.project.makeKey(model.projectId))}>
        {strings.makeKey}
      </button>
      <div aria-live="polite">{key && <code>{command}</code>}</div>
      {key && <p class="hint">{strings.keyOnce}</p>}
    </details>
  );
}
