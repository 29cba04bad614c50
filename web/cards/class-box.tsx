/** The box of one class: its name, the buttons that add pictures, and its pictures. The whole box takes a drop. */
import type { ComponentChildren } from 'preact';
import type { ImageCounts } from '#shared/words.ts';
import { imageTypes } from '../facts.ts';
import { useAsk } from '../parts/ask.tsx';
import { EditableName } from '../parts/editable-name.tsx';
import { useFileDrop } from '../parts/file-drop.ts';
import { useStrings } from '../strings/languages.ts';

interface Props {
  number: number;
  name: string;
  /** A draft has a name only: there is no class in the studio yet. */
  isDraft?: boolean;
  images?: ImageCounts;
  onName: (name: string) => unknown;
  onFiles: (files: File[]) => unknown;
  onRemove?: () => unknown;
  children?: ComponentChildren;
}

const colourCount = 6;

export function ClassBox(props: Props) {
  const { number, name, onFiles, children } = props;
  const strings = useStrings();
  const [isOver, dropHandlers] = useFileDrop(onFiles);
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be laid out as this box is in every browser.
    <div
      role="group"
      aria-label={name || strings.classSuggestion(number)}
      class={`class colour-${((number - 1) % colourCount) + 1}${isOver ? ' over' : ''}`}
      {...dropHandlers}
    >
      <ClassHead {...props} />
      <div class="add">
        <FileButtons onFiles={onFiles} />
        <span class="hint">{isOver ? strings.dropNow : strings.dropHere}</span>
      </div>
      {children}
    </div>
  );
}

function ClassHead({ number, name, isDraft = false, images, onName, onRemove }: Props) {
  const strings = useStrings();
  const [question, ask] = useAsk();
  const remove = () => {
    if (!images || images.ready + images.pending + images.rejected === 0) onRemove?.();
    else ask(strings.removeClassAsk(name, images.ready), strings.yesDelete, () => onRemove?.());
  };
  return (
    <div class="class-head">
      <span class="dot" aria-hidden="true" />
      <EditableName
        label={strings.className}
        value={name}
        placeholder={strings.classSuggestion(number)}
        onChange={onName}
        eager={isDraft}
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
      {question}
    </div>
  );
}

function FileButtons({ onFiles }: { onFiles: (files: File[]) => unknown }) {
  const strings = useStrings();
  const choose = (event: { currentTarget: HTMLInputElement }) => {
    const files = [...(event.currentTarget.files ?? [])];
    if (files.length > 0) onFiles(files);
    // Without this the same file could not be chosen again.
    event.currentTarget.value = '';
  };
  return (
    <>
      <label class="button">
        <input type="file" class="hidden" multiple accept={[...imageTypes, 'image/*'].join()} onChange={choose} />
        {strings.choosePictures}
      </label>
      <label class="button camera">
        <input type="file" class="hidden" accept="image/*" capture="environment" onChange={choose} />
        {strings.takePicture}
      </label>
    </>
  );
}
