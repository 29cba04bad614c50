/** The first card: classes and their pictures. */
import type { Project } from '#shared/words.ts';
import type { Store } from '../store/index.ts';
import { useObserved } from '../store/observable.ts';
import { useStrings } from '../strings/languages.ts';
import { ClassBox } from './class-box.tsx';
import { ClassPictures } from './class-pictures.tsx';

export function ClassesCard({ store }: { store: Store }) {
  const strings = useStrings();
  const { project, draft, draftPositions } = useObserved(store.project);
  const classes = project?.classes ?? [];
  const add = () => {
    const taken = new Set(classes.map(({ name }) => name));
    let number = classes.length + 1;
    while (taken.has(strings.classSuggestion(number))) number++;
    void store.project.addClass(strings.classSuggestion(number));
  };
  return (
    <section class="card" aria-labelledby="classes-title">
      <h2 id="classes-title">{strings.classesTitle}</h2>
      <p class="help">{strings.classesHelp}</p>
      {project
        ? projectBoxes(project, draftPositions, store)
        : draft.map((name, index) => (
            <ClassBox
              key={index}
              number={index + 1}
              name={name}
              isDraft
              onName={(typed) => store.project.renameDraft(index, typed)}
              onFiles={(files) => store.uploads.addPictures(index, files)}
              {...(draft.length > 2 && { onRemove: () => store.project.removeDraft(index) })}
            />
          ))}
      <button type="button" class="wide" onClick={add}>
        + {strings.addClass}
      </button>
    </section>
  );
}

/** The boxes are elements of the card itself: a draft's box has to stay the same element when it becomes a class. */
function projectBoxes(project: Project, draftPositions: Record<string, number>, store: Store) {
  return project.classes.map((item, index) => (
    <ClassBox
      key={draftPositions[item.id] ?? item.id}
      number={index + 1}
      name={item.name}
      images={item.images}
      onName={(name) => store.project.renameClass(item.id, name)}
      onFiles={(files) => store.uploads.addPictures(item.id, files)}
      onRemove={() => store.project.removeClass(item.id)}
    >
      <ClassPictures project={project} item={item} store={store} />
    </ClassBox>
  ));
}
