import type { Model } from '#shared/words.ts';
import { artifactNames } from '../facts.ts';
import { useStrings } from '../strings/languages.ts';

/** The files of a model, in the order of artifacts.json. */
export function Downloads({ model }: { model: Model }) {
  const strings = useStrings();
  const artifacts = artifactNames.flatMap((name) => {
    const artifact = model.artifacts.find((item) => item.name === name);
    return artifact ? [{ ...artifact, name }] : [];
  });
  return (
    <div class="downloads">
      <h3>{strings.downloads}</h3>
      <ul>
        {artifacts.map(({ name, url, bytes }) => (
          <li key={name}>
            <a class="button" href={url} download={name}>
              {name}
            </a>
            <span>
              {strings.artifacts[name]} <span class="hint">{formatBytes(bytes)}</span>
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}

const formatBytes = (bytes: number): string =>
  bytes < 1e5 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
