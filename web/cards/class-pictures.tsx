/** Shows the pictures of a class: those on their way, those that are there and those that were rejected. */
import type { Project, ProjectClass } from '#shared/words.ts';
import type { Store } from '../store/index.ts';
import { useObserved } from '../store/observable.ts';
import { useStrings } from '../strings/languages.ts';
import { BatchProgress } from './batch-progress.tsx';
import { Rejected } from './rejected.tsx';
import { Thumbnails } from './thumbnails.tsx';

interface Props {
  project: Project;
  item: ProjectClass;
  store: Store;
}

export function ClassPictures({ project, item: { id, images }, store }: Props) {
  const strings = useStrings();
  const { batches } = useObserved(store.uploads);
  const others = project.classes.filter((other) => other.id !== id);
  return (
    <>
      {batches
        .filter(({ classId }) => classId === id)
        .map((batch) => (
          <BatchProgress key={batch.id} batch={batch} onClose={() => store.uploads.close(batch.id)} />
        ))}
      {images.pending > 0 && <p class="hint">{strings.looking(images.pending)}</p>}
      <Thumbnails projectId={project.id} classId={id} count={images.ready} others={others} store={store} />
      <Rejected projectId={project.id} classId={id} count={images.rejected} store={store} />
    </>
  );
}
