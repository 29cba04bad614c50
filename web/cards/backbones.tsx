/** Part of the second card: the learner chooses a backbone, where the installation offers more than one. */
import { useEffect, useState } from 'preact/hooks';
import type { Backbone } from '#shared/words.ts';
import { api } from '../api.ts';
import { type Strings, useStrings } from '../strings/languages.ts';

/** @param current the backbone of the current model, if it is known. */
export function Backbones({ current, choose }: { current: string | undefined; choose: (name: string) => void }) {
  const strings = useStrings();
  const [backbones, setBackbones] = useState<Backbone[]>([]);
  const [choice, setChoice] = useState<string | null>(null);
  useEffect(() => {
    // Without an answer there is nothing to choose; the trouble bar shows a lost connection.
    api.backbones().then(setBackbones, () => {});
  }, []);
  if (backbones.length < 2) return null;
  const chosen = backbones.find(({ name }) => name === (choice ?? current)) ?? backbones[0]!;
  return (
    <div class="backbones">
      <p class="hint">{strings.backboneHelp}</p>
      <label>
        {strings.backbone}
        <select value={chosen.name} onChange={({ currentTarget }) => setChoice(currentTarget.value)}>
          {backbones.map((backbone) => (
            <option key={backbone.name} value={backbone.name}>
              {titleOf(strings, backbone)}
            </option>
          ))}
        </select>
      </label>
      <p class="hint">{factsOf(strings, chosen)}</p>
      <button type="button" class="quiet" onClick={() => choose(chosen.name)}>
        {strings.learnWith}
      </button>
    </div>
  );
}

const titleOf = (strings: Strings, { name, words }: Backbone): string => strings.backbones[words ?? ''] ?? name;

/** What somebody who downloads a model has to know: the backbone's name, size and licence, and whether that forbids business. */
function factsOf(strings: Strings, { name, megabytes, license }: Backbone): string {
  const forbids = license !== null && /\bnc\b/i.test(license);
  return [name, megabytes && `${megabytes} MB`, license, forbids && strings.noBusiness].filter(Boolean).join(' · ');
}
