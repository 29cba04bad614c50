import type { Store } from '../store/index.ts';
import { sentenceOf, useStrings } from '../strings/languages.ts';
import { useImages } from './images.ts';

interface Props {
  projectId: string;
  classId: string;
  count: number;
  store: Store;
}

/** A list this short is open from the start. */
const mostOpened = 5;

/** Pictures that the trainer rejected, each with the reason. */
export function Rejected({ projectId, classId, count, store }: Props) {
  const strings = useStrings();
  const [images, showMore] = useImages(projectId, classId, 'rejected', count);
  if (images.length === 0) return null;
  return (
    <details class="rejected" open={images.length <= mostOpened}>
      <summary>{strings.notTaken(count)}</summary>
      <ul>
        {images.map(({ id, name, reason }) => (
          <li key={id}>
            <b>{name}</b> {reason && sentenceOf(strings, reason)}
            <button
              type="button"
              class="icon"
              aria-label={`${strings.removePicture}: ${name}`}
              onClick={() => store.project.removeImage(id)}
            >
              ×
            </button>
          </li>
        ))}
      </ul>
      {showMore && (
        <button type="button" class="quiet" onClick={showMore}>
          {strings.showMore(count - images.length)}
        </button>
      )}
    </details>
  );
}
