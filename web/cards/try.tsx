/** Asks a model about a picture that is chosen, dropped or pasted. */
import { useEffect, useState } from 'preact/hooks';
import type { Detail, Model } from '#shared/words.ts';
import { ApiError, type Prediction, predict } from '../api.ts';
import { useFileDrop } from '../parts/file-drop.ts';
import { sentenceOf, useStrings } from '../strings/languages.ts';
import { NotSendable, prepare } from '../uploads/prepare-picture.ts';

type Answer = { prediction: Prediction } | { problem: Detail | 'offline' } | 'thinking';

export function Try({ model }: { model: Model }) {
  const strings = useStrings();
  const [file, setFile] = useState<Blob | null>(null);
  const [isOver, dropHandlers] = useFileDrop(([first]) => first && setFile(first));
  usePastedPicture(setFile);
  const url = useObjectUrl(file);
  const answer = useAnswer(file, model);
  return (
    <div class={`try${isOver ? ' over' : ''}`} {...dropHandlers}>
      {url && <img class="tried" src={url} alt={strings.tried} />}
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
      <div aria-live="polite">{answer && <Verdict answer={answer} />}</div>
    </div>
  );
}

function useObjectUrl(file: Blob | null): string | null {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    if (!file) return;
    const created = URL.createObjectURL(file);
    setUrl(created);
    return () => URL.revokeObjectURL(created);
  }, [file]);
  return url;
}

/** A new model is asked about the same picture again, so that the learner sees what changed. */
function useAnswer(file: Blob | null, model: Model): Answer | null {
  const [answer, setAnswer] = useState<Answer | null>(null);
  useEffect(() => {
    if (!file) return;
    let current = true;
    setAnswer('thinking');
    const prediction = prepare(file).then((picture) => predict(model.predictUrl, picture));
    prediction.then(
      (value) => current && setAnswer({ prediction: value }),
      (error) => current && setAnswer({ problem: problemOf(error) }),
    );
    return () => {
      current = false;
    };
  }, [file, model.id]);
  return answer;
}

function usePastedPicture(onPicture: (picture: File) => void): void {
  useEffect(() => {
    const paste = (event: ClipboardEvent) => {
      const picture = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith('image/'));
      if (picture) onPicture(picture);
    };
    addEventListener('paste', paste);
    return () => removeEventListener('paste', paste);
  }, [onPicture]);
}

function Verdict({ answer }: { answer: Answer }) {
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
  return error instanceof ApiError || error instanceof NotSendable ? error.detail : 'offline';
}
