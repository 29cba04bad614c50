import type { Image, ProjectClass } from '#shared/words.ts';
import type { Store } from '../store/index.ts';
import { useStrings } from '../strings/languages.ts';
import { useImages } from './images.ts';

interface Props {
  projectId: string;
  classId: string;
  count: number;
  others: ProjectClass[];
  store: Store;
}

/** The pictures of a class; each opens a menu to move or remove it. */
export function Thumbnails({ projectId, classId, count, others, store }: Props) {
  const strings = useStrings();
  const [images, showMore] = useImages(projectId, classId, 'ready', count);
  if (images.length === 0) return null;
  return (
    <>
      <ul class="thumbnails">
        {images.map((image) => (
          <Thumbnail key={image.id} image={image} others={others} store={store} />
        ))}
      </ul>
      {showMore && (
        <button type="button" class="quiet" onClick={showMore}>
          {strings.showMore(count - images.length)}
        </button>
      )}
    </>
  );
}

function Thumbnail({ image, others, store }: { image: Image; others: ProjectClass[]; store: Store }) {
  const strings = useStrings();
  const choose = (event: { currentTarget: HTMLSelectElement }) => {
    const { value } = event.currentTarget;
    event.currentTarget.value = '';
    if (value === 'remove') void store.project.removeImage(image.id);
    else if (value) void store.project.moveImage(image.id, value);
  };
  return (
    <li>
      <img src={image.thumbnailUrl ?? ''} alt="" loading="lazy" decoding="async" />
      {/* The browser's own menu works with a keyboard, a finger and a screen reader alike. */}
      <select aria-label={strings.pictureMenu(image.name)} title={image.name} value="" onChange={choose}>
        <option value="" hidden />
        {others.map(({ id, name }) => (
          <option key={id} value={id}>
            {strings.moveTo(name)}
          </option>
        ))}
        <option value="remove">{strings.removePicture}</option>
      </select>
    </li>
  );
}
