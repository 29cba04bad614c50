import { useAsk } from './parts/ask.tsx';
import { EditableName } from './parts/editable-name.tsx';
import type { Store, View } from './store.ts';
import { type Language, languages, useStrings } from './strings/index.ts';

interface Props {
  view: View;
  store: Store;
  language: Language;
  setLanguage: (language: Language) => void;
}

export function Header({ view, store, language, setLanguage }: Props) {
  const strings = useStrings();
  const { project, projects } = view;
  const [question, ask] = useAsk();
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
        {project && (
          <>
            <EditableName label={strings.project} value={project.name} onChange={(name) => store.renameProject(name)} />
            {projects.length > 1 && (
              <select
                aria-label={strings.myProjects}
                value={project.id}
                onChange={(event) => store.open(event.currentTarget.value)}
              >
                {projects.map(({ id, name }) => (
                  <option key={id} value={id}>
                    {name}
                  </option>
                ))}
              </select>
            )}
            <button type="button" onClick={store.startNew}>
              {strings.newProject}
            </button>
            <button
              type="button"
              class="quiet"
              onClick={() =>
                ask(strings.deleteProjectAsk(project.name), strings.yesDelete, () => store.removeProject(project.id))
              }
            >
              {strings.deleteProject}
            </button>
          </>
        )}
        <div class="languages">
          {(Object.keys(languages) as Language[]).map((one) => (
            <button key={one} type="button" lang={one} aria-pressed={one === language} onClick={() => setLanguage(one)}>
              {languages[one].languageName}
            </button>
          ))}
        </div>
      </div>
      {question}
    </header>
  );
}
