/** One class: its name, where pictures go in, those on their way, those that are there and those that were not taken. */
import { useState } from 'preact/hooks';
import type { ImageCounts, ProjectClass } from '#shared/words.ts';
import { useAsk } from '../parts/ask.tsx';
import { EditableName } from '../parts/editable-name.tsx';
import type { Store } from '../store.ts';
import { sentenceOf, useStrings } from '../strings/index.ts';
import { droppedFiles } from '../uploads/dropped.ts';
import type { Batch } from '../uploads/queue.ts';
import { Rejected } from './rejected.tsx';
import { Thumbnails } from './thumbnails.tsx';

interface Props {
  number: number;
  name: string;
  store: Store;
  onName: (name: string) => unknown;
  onFiles: (files: File[]) => void;
  onRemove?: () => void;
  /** Of a class that is there; without them it is one of the draft. */
  projectId?: string;
  classId?: string;
  images?: ImageCounts;
  batches?: Batch[];
  others?: ProjectClass[];
}

const accept = 'image/jpeg,image/png,image/webp,image/*';

export function ClassBox({
  number,
  name,
  store,
  onName,
  onFiles,
  onRemove,
  projectId,
  classId,
  images,
  batches = [],
  others = [],
}: Props) {
  const strings = useStrings();
  const [over, setOver] = useState(false);
  const [question, ask] = useAsk();
  const take = (files: File[]) => files.length > 0 && onFiles(files);
  const remove = () => {
    if (!images || images.ready + images.pending + images.rejected === 0) onRemove?.();
    else ask(strings.removeClassAsk(name, images.ready), strings.yesDelete, () => onRemove?.());
  };
  const choose = (event: { currentTarget: HTMLInputElement }) => {
    take([...(event.currentTarget.files ?? [])]);
    // The same file can be chosen again.
    event.currentTarget.value = '';
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be laid out as this box is in every browser.
    <div
      role="group"
      aria-label={name || strings.classSuggestion(number)}
      class={`class colour-${((number - 1) % 6) + 1}${over ? ' over' : ''}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
      }}
      onDrop={async (event) => {
        event.preventDefault();
        setOver(false);
        if (event.dataTransfer) take(await droppedFiles(event.dataTransfer));
      }}
    >
      <div class="class-head">
        <span class="dot" aria-hidden="true" />
        <EditableName
          label={strings.className}
          value={name}
          placeholder={strings.classSuggestion(number)}
          onChange={onName}
          eager={!classId}
        />
        {images && <span class="count">{strings.pictures(images.ready)}</span>}
        {onRemove && (
          <button
            type="button"
            class="icon"
            aria-label={`${strings.removeClass}: ${name}`}
            title={strings.removeClass}
            onClick={remove}
          >
            ×
          </button>
        )}
      </div>
      <div class="add">
        <label class="button">
          <input type="file" class="hidden" multiple accept={accept} onChange={choose} />
          {strings.choosePictures}
        </label>
        <label class="button camera">
          <input type="file" class="hidden" accept="image/*" capture="environment" onChange={choose} />
          {strings.takePicture}
        </label>
        <span class="hint">{over ? strings.dropNow : strings.dropHere}</span>
      </div>
      {batches.map((batch) => (
        <Progress key={batch.id} batch={batch} onClose={() => store.closeBatch(batch.id)} />
      ))}
      {images && images.pending > 0 && <p class="hint">{strings.looking(images.pending)}</p>}
      {projectId && classId && images && (
        <>
          <Thumbnails projectId={projectId} classId={classId} count={images.ready} others={others} store={store} />
          <Rejected projectId={projectId} classId={classId} count={images.rejected} store={store} />
        </>
      )}
      {question}
    </div>
  );
}

/** Of one drop; gone when all of it was sent, closed by the learner when some could not be. */
function Progress({ batch, onClose }: { batch: Batch; onClose: () => void }) {
  const strings = useStrings();
  const { sent, total, failed, paused } = batch;
  const over = sent + failed.length >= total;
  if (over && failed.length === 0) return null;
  return (
    <div class="batch" aria-live="polite">
      {!over && (
        <>
          <progress value={sent + failed.length} max={total} aria-label={strings.sending(sent, total)} />
          <span class="hint">
            {paused === 'offline'
              ? strings.sendingPaused
              : paused
                ? sentenceOf(strings, paused)
                : strings.sending(sent, total)}
          </span>
        </>
      )}
      {failed.length > 0 && (
        <details class="rejected" open>
          <summary>{strings.notTaken(failed.length)}</summary>
          <ul>
            {failed.slice(0, 20).map(({ name, reason }, index) => (
              <li key={index}>
                <b>{name}</b> {sentenceOf(strings, reason)}
              </li>
            ))}
          </ul>
          {over && (
            <button type="button" onClick={onClose}>
              {strings.dismiss}
            </button>
          )}
        </details>
      )}
    </div>
  );
}
