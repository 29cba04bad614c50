import type { Project } from '#shared/words.ts';
import { useAsk } from './parts/ask.tsx';
import { EditableName } from './parts/editable-name.tsx';
import type { Store } from './store/index.ts';
import type { LanguageStore } from './store/language.ts';
import { useObserved } from './store/observable.ts';
import { languages, languageTags, useStrings } from './strings/languages.ts';

export function Header({ store }: { store: Store }) {
  const strings = useStrings();
  const { project } = useObserved(store.project);
  return (
    <header class="top">
      <div class="brand">
        <img src="/icon.svg" alt="" width="40" height="40" />
        <div>
          <h1>AI Teacher</h1>
          <p>{strings.tagline}</p>
        </div>
      </div>
      <div class="controls">
        {project && <ProjectControls project={project} store={store} />}
        <LanguageButtons store={store.language} />
      </div>
    </header>
  );
}

function ProjectControls({ project, store }: { project: Project; store: Store }) {
  const strings = useStrings();
  const { projects } = useObserved(store.project);
  const [question, ask] = useAsk();
  return (
    <>
      <EditableName label={strings.project} value={project.name} onChange={store.project.rename} />
      {projects.length > 1 && (
        <select
          aria-label={strings.myProjects}
          value={project.id}
          onChange={(event) => store.project.open(event.currentTarget.value)}
        >
          {projects.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      )}
      <button type="button" onClick={store.project.startNew}>
        {strings.newProject}
      </button>
      <button
        type="button"
        class="quiet"
        onClick={() =>
          ask(strings.deleteProjectAsk(project.name), strings.yesDelete, () => store.project.remove(project.id))
        }
      >
        {strings.deleteProject}
      </button>
      {question}
    </>
  );
}

function LanguageButtons({ store }: { store: LanguageStore }) {
  const { language } = useObserved(store);
  return (
    <div class="languages">
      {languageTags.map((tag) => (
        <button key={tag} type="button" lang={tag} aria-pressed={tag === language} onClick={() => store.choose(tag)}>
          {languages[tag].languageName}
        </button>
      ))}
    </div>
  );
}
