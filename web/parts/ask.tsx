import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { useStrings } from '../strings/languages.ts';

interface Question {
  text: string;
  yes: string;
  no: string;
  onYes: () => unknown;
}

/** Asks before something is lost. @returns the dialog to show, and a function that opens it. */
export function useAsk(): [VNode | null, (text: string, yes: string, onYes: () => unknown, no?: string) => void] {
  const [question, setQuestion] = useState<Question | null>(null);
  const dialog = useRef<HTMLDialogElement>(null);
  const strings = useStrings();
  useEffect(() => {
    if (question) dialog.current?.showModal();
  }, [question]);
  const close = () => setQuestion(null);
  const dialogElement = question && (
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
  return [dialogElement, (text, yes, onYes, no = strings.keep) => setQuestion({ text, yes, onYes, no })];
}
