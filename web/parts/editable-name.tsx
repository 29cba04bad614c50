import { useEffect, useState } from 'preact/hooks';

interface Props {
  label: string;
  value: string;
  placeholder?: string;
  /** Called when the learner leaves the field or presses Enter; false: it was refused, and the old name comes back. */
  onChange: (value: string) => unknown;
  /** Called with each letter as well: what is typed counts though nobody left the field. */
  eager?: boolean;
}

/** A name that is changed where it stands. */
export function EditableName({ label, value, placeholder, onChange, eager = false }: Props) {
  const [text, setText] = useState(value);
  // A space after a word is one that goes on.
  useEffect(() => setText((typed) => (typed.trim() === value ? typed : value)), [value]);
  const commit = async () => {
    const name = text.trim();
    if (name === value) return;
    // A name cannot be taken away, only changed.
    if (name === '' || (await onChange(name)) === false) setText(value);
  };
  return (
    <input
      class="name"
      aria-label={label}
      placeholder={placeholder}
      value={text}
      maxLength={100}
      onInput={(event) => {
        setText(event.currentTarget.value);
        if (eager) onChange(event.currentTarget.value);
      }}
      onBlur={commit}
      onKeyDown={(event) => event.key === 'Enter' && event.currentTarget.blur()}
    />
  );
}
