import { sentenceOf, useStrings } from '../strings/languages.ts';
import { type Batch, isFinished } from '../uploads/queue.ts';

/** More would make the list longer than anybody reads. */
const mostFailuresShown = 20;

/** Shows a batch and its files that could not be sent. The learner closes it when it is finished. */
export function BatchProgress({ batch, onClose }: { batch: Batch; onClose: () => void }) {
  const strings = useStrings();
  const { failed } = batch;
  const finished = isFinished(batch);
  if (finished && failed.length === 0) return null;
  return (
    <div class="batch" aria-live="polite">
      {!finished && <Sending batch={batch} />}
      {failed.length > 0 && (
        <details class="rejected" open>
          <summary>{strings.notTaken(failed.length)}</summary>
          <ul>
            {failed.slice(0, mostFailuresShown).map(({ name, reason }, index) => (
              <li key={index}>
                <b>{name}</b> {sentenceOf(strings, reason)}
              </li>
            ))}
          </ul>
          {finished && (
            <button type="button" onClick={onClose}>
              {strings.dismiss}
            </button>
          )}
        </details>
      )}
    </div>
  );
}

function Sending({ batch: { sent, failed, total, paused } }: { batch: Batch }) {
  const strings = useStrings();
  const progress = strings.sending(sent, total);
  const pause = paused === 'offline' ? strings.sendingPaused : paused && sentenceOf(strings, paused);
  return (
    <>
      <progress value={sent + failed.length} max={total} aria-label={progress} />
      <span class="hint">{pause ?? progress}</span>
    </>
  );
}
