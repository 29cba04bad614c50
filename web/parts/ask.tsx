import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { useStrings } from '../strings/index.ts';

interface Question {
  text: string;
  yes: string;
  no: string;
  onYes: () => unknown;
}

/** A question before something is lost: the element to show, and a function that asks. */
export function useAsk(): [VNode | null, (text: string, yes: string, onYes: () => unknown, no?: string) => void] {
  const [question, setQuestion] = useState<Question | null>(null);
  const dialog = useRef<HTMLDialogElement>(null);
  const strings = useStrings();
  useEffect(() => {
    if (question) dialog.current?.showModal();
  }, [question]);
  const close = () => setQuestion(null);
  const shown = question && (
    <dialog ref={dialog} onClose={close}>
      <p>{question.text}</p>
      <div class="answers">
        <button type="button" onClick={close}>
          {question.no}
        </button>
        <button
          type="button"
          class="danger"
          onClick={() => {
            close();
            question.onYes();
          }}
        >
          {question.yes}
        </button>
      </div>
    </dialog>
  );
  return [shown, (text, yes, onYes, no = strings.keep) => setQuestion({ text, yes, onYes, no })];
}
