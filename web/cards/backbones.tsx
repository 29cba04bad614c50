/** In the second card: with which backbone to learn, where more than one is offered. */
import { useEffect, useState } from 'preact/hooks';
import type { Backbone } from '#shared/words.ts';
import { api } from '../api.ts';
import { type Strings, useStrings } from '../strings/index.ts';

/** @param current the backbone of the model that is shown, if it is known. */
export function Backbones({ current, choose }: { current: string | undefined; choose: (name: string) => void }) {
  const strings = useStrings();
  const [offered, keep] = useState<Backbone[]>([]);
  const [wanted, want] = useState<string | null>(null);
  useEffect(() => {
    // Without a connection the page says so elsewhere, and there is nothing to choose.
    api.backbones().then(keep, () => {});
  }, []);
  if (offered.length < 2) return null;
  const chosen = wanted ?? offered.find(({ name }) => name === current)?.name ?? offered[0]!.name;
  return (
    <div class="backbones">
      <p class="hint">{strings.backboneHelp}</p>
      <label>
        {strings.backbone}
        <select value={chosen} onChange={({ currentTarget }) => want(currentTarget.value)}>
          {offered.map((one) => (
            <option key={one.name} value={one.name}>
              {titleOf(strings, one)}
            </option>
          ))}
        </select>
      </label>
      <p class="hint">{factsOf(strings, offered.find(({ name }) => name === chosen)!)}</p>
      <button type="button" class="quiet" onClick={() => choose(chosen)}>
        {strings.learnWith}
      </button>
    </div>
  );
}

const titleOf = (strings: Strings, { name, words }: Backbone): string => strings.backbones[words ?? ''] ?? name;

/** Its own name, its size, its licence, and whether that forbids business: what a person has to know who takes the model along. */
function factsOf(strings: Strings, { name, megabytes, license }: Backbone): string {
  const forbids = license !== null && /\bnc\b/i.test(license);
  return [name, megabytes && `${megabytes} MB`, license, forbids && strings.noBusiness].filter(Boolean).join(' · ');
}
