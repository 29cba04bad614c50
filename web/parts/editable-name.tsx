import { useEffect, useState } from 'preact/hooks';

interface Props {
  label: string;
  value: string;
  placeholder?: string;
  /** Is called when the learner leaves the field or presses Enter; where it returns false, the old name is shown again. */
  onChange: (value: string) => unknown;
  /** Calls `onChange` with each letter as well: the name counts although nobody left the field. */
  eager?: boolean;
}

/** A name that can be edited in its place. */
export function EditableName({ label, value, placeholder, onChange, eager = false }: Props) {
  const [text, setText] = useState(value);
  // A space at the end is kept while the learner goes on typing.
  useEffect(() => setText((typed) => (typed.trim() === value ? typed : value)), [value]);
  const commit = async () => {
    const name = text.trim();
    if (name === value) return;
    // An empty name is not saved: a name can only be changed.
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
