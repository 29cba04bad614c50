import type { Store } from '../store.ts';
import { sentenceOf, useStrings } from '../strings/index.ts';
import { useImages } from './images.ts';

/** Pictures that were not taken, each with its reason. */
export function Rejected({
  projectId,
  classId,
  count,
  store,
}: {
  projectId: string;
  classId: string;
  count: number;
  store: Store;
}) {
  const strings = useStrings();
  const [images, showMore] = useImages(projectId, classId, 'rejected', count);
  if (images.length === 0) return null;
  return (
    <details class="rejected" open={images.length <= 5}>
      <summary>{strings.notTaken(count)}</summary>
      <ul>
        {images.map(({ id, name, reason }) => (
          <li key={id}>
            <b>{name}</b> {reason && sentenceOf(strings, reason)}
            <button
              type="button"
              class="icon"
              aria-label={`${strings.removePicture}: ${name}`}
              onClick={() => store.removeImage(id)}
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
