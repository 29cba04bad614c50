/** The first card: classes and their pictures. */
import type { Store, View } from '../store.ts';
import { useStrings } from '../strings/index.ts';
import { ClassBox } from './class-box.tsx';

export function ClassesCard({ view, store }: { view: View; store: Store }) {
  const strings = useStrings();
  const { project, draft, places, batches } = view;
  const others = project?.classes ?? [];
  const add = () => {
    const taken = new Set(others.map(({ name }) => name));
    let number = others.length + 1;
    while (taken.has(strings.classSuggestion(number))) number++;
    void store.addClass(strings.classSuggestion(number));
  };
  return (
    <section class="card" aria-labelledby="classes-title">
      <h2 id="classes-title">{strings.classesTitle}</h2>
      <p class="help">{strings.classesHelp}</p>
      {project
        ? project.classes.map((one, index) => (
            <ClassBox
              key={places[one.id] ?? one.id}
              number={index + 1}
              name={one.name}
              images={one.images}
              batches={batches.filter(({ classId }) => classId === one.id)}
              others={others.filter(({ id }) => id !== one.id)}
              projectId={project.id}
              classId={one.id}
              store={store}
              onName={(name) => store.renameClass(one.id, name)}
              onFiles={(files) => store.addPictures(one.id, files)}
              onRemove={() => store.removeClass(one.id)}
            />
          ))
        : draft.map((name, index) => (
            <ClassBox
              key={index}
              number={index + 1}
              name={name}
              store={store}
              onName={(typed) => store.nameDraft(index, typed)}
              onFiles={(files) => store.addPictures(index, files)}
              {...(draft.length > 2 && { onRemove: () => store.removeDraft(index) })}
            />
          ))}
      <button type="button" class="wide" onClick={add}>
        + {strings.addClass}
      </button>
    </section>
  );
}
