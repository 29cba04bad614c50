/** The third card: the model on a picture it has never seen, and its files. */
import { useEffect, useState } from 'preact/hooks';
import type { Detail, Model, Project } from '#shared/words.ts';
import { ApiError, type Prediction, predict } from '../api.ts';
import type { Store } from '../store.ts';
import { sentenceOf, useStrings } from '../strings/index.ts';
import { droppedFiles } from '../uploads/dropped.ts';
import { NotSendable, prepare } from '../uploads/prepare.ts';
import { ProgramKey } from './key.tsx';

type Answer = { prediction: Prediction } | { problem: Detail | 'offline' } | 'thinking';

export function PreviewCard({ project, store }: { project: Project | null; store: Store }) {
  const strings = useStrings();
  const model = project?.model ?? null;
  return (
    <section class="card" aria-labelledby="preview-title">
      <h2 id="preview-title">{strings.previewTitle}</h2>
      <p class="help">{strings.previewHelp}</p>
      {model ? (
        <>
          {project && model.revision !== project.revision && <p class="hint">{strings.older}</p>}
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

function Try({ model }: { model: Model }) {
  const strings = useStrings();
  const [file, setFile] = useState<Blob | null>(null);
  const [over, setOver] = useState(false);
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [shown, setShown] = useState<string | null>(null);

  useEffect(() => {
    if (!file) return;
    const url = URL.createObjectURL(file);
    setShown(url);
    return () => URL.revokeObjectURL(url);
  }, [file]);

  // A new model is asked about the same picture again: the learner sees what changed.
  useEffect(() => {
    if (!file) return;
    let current = true;
    setAnswer('thinking');
    const asked = prepare(file).then((picture) => predict(model.predictUrl, picture));
    asked.then(
      (prediction) => current && setAnswer({ prediction }),
      (error) => current && setAnswer({ problem: problemOf(error) }),
    );
    return () => {
      current = false;
    };
  }, [file, model.id]);

  useEffect(() => {
    const paste = (event: ClipboardEvent) => {
      const pasted = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith('image/'));
      if (pasted) setFile(pasted);
    };
    addEventListener('paste', paste);
    return () => removeEventListener('paste', paste);
  }, []);

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dropping is the quick way; the button within is everybody's.
    <div
      class={`try${over ? ' over' : ''}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={async (event) => {
        event.preventDefault();
        setOver(false);
        const [first] = event.dataTransfer ? await droppedFiles(event.dataTransfer) : [];
        if (first) setFile(first);
      }}
    >
      {shown && <img class="tried" src={shown} alt={strings.tried} />}
      <label class="button primary">
        <input
          type="file"
          class="hidden"
          accept="image/*"
          onChange={(event) => {
            setFile(event.currentTarget.files?.[0] ?? null);
            event.currentTarget.value = '';
          }}
        />
        {strings.tryPicture}
      </label>
      <span class="hint">{strings.tryHint}</span>
      <div aria-live="polite">{answer && <Said answer={answer} />}</div>
    </div>
  );
}

function Said({ answer }: { answer: Answer }) {
  const strings = useStrings();
  if (answer === 'thinking') return <p class="hint">{strings.thinking}</p>;
  if ('problem' in answer) {
    const { problem } = answer;
    return <p class="problem">{problem === 'offline' ? strings.offline : sentenceOf(strings, problem)}</p>;
  }
  const { label, unknown, scores } = answer.prediction;
  return (
    <>
      <p class="verdict">{unknown || label === null ? strings.itDoesNotKnow : strings.itSays(label)}</p>
      <ul class="bars">
        {scores.map((score) => (
          <li key={score.class}>
            <span>{score.class}</span>
            <progress value={score.probability} max={1} aria-label={score.class} />
            <span class="percent">{Math.round(score.probability * 100)} %</span>
          </li>
        ))}
      </ul>
    </>
  );
}

function problemOf(error: unknown): Detail | 'offline' {
  if (error instanceof ApiError) return error.detail;
  if (error instanceof NotSendable) return { code: error.code, params: {}, message: error.message };
  return 'offline';
}

function Downloads({ model }: { model: Model }) {
  const strings = useStrings();
  const order = Object.keys(strings.artifacts);
  const known = model.artifacts
    .filter(({ name }) => order.includes(name))
    .sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  return (
    <div class="downloads">
      <h3>{strings.downloads}</h3>
      <ul>
        {known.map(({ name, url, bytes }) => (
          <li key={name}>
            <a class="button" href={url} download={name}>
              {name}
            </a>
            <span>
              {strings.artifacts[name]} <span class="hint">{size(bytes)}</span>
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}

const size = (bytes: number): string =>
  bytes < 1e5 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
