import { useObserved } from './store/observable.ts';
import type { TroubleStore } from './store/trouble.ts';
import { sentenceOf, useStrings } from './strings/languages.ts';

/** Shows what went wrong. A refusal has a button that closes it; a lost connection ends when there is one again. */
export function TroubleBar({ trouble }: { trouble: TroubleStore }) {
  const strings = useStrings();
  const { offline, refusal, pollRefusal } = useObserved(trouble);
  const detail = refusal ?? pollRefusal;
  return (
    <div class="trouble" hidden={!offline && !detail}>
      <span role="alert">{offline ? strings.offline : detail && sentenceOf(strings, detail)}</span>
      {!offline && (
        <button
          type="button"
          class="icon"
          aria-label={strings.dismiss}
          title={strings.dismiss}
          onClick={trouble.dismiss}
        >
          ×
        </button>
      )}
    </div>
  );
}
