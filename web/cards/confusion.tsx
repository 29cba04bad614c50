import { useStrings } from '../strings/languages.ts';

interface Props {
  classes: string[];
  /** The rows are what a picture shows, the columns what the model said. */
  counts: number[][];
}

const mostSentences = 3;

/** What the model mixes up: its worst mistakes as sentences, and all answers as a table. */
export function Confusion({ classes, counts }: Props) {
  const strings = useStrings();
  const mistakes = counts
    .flatMap((row, what) => row.map((count, said) => ({ what, said, count })))
    .filter(({ what, said, count }) => what !== said && count > 0)
    .sort((a, b) => b.count - a.count);
  return (
    <div class="confusion">
      <h3>{strings.mixedUp}</h3>
      {mistakes.length === 0 ? (
        <p>{strings.mixesUpNothing}</p>
      ) : (
        <ul>
          {mistakes.slice(0, mostSentences).map(({ what, said, count }) => (
            <li key={`${what}-${said}`}>{strings.mixesUp(classes[what]!, classes[said]!, count)}</li>
          ))}
        </ul>
      )}
      <div class="scroll">
        <table>
          <caption>{strings.matrixCaption}</caption>
          <thead>
            <tr>
              <th scope="col">
                {strings.really} <br /> {strings.said}
              </th>
              {classes.map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {counts.map((row, what) => (
              <tr key={classes[what]}>
                <th scope="row">{classes[what]}</th>
                {row.map((count, said) => (
                  <td key={classes[said]} class={shade(count, row, what === said)}>
                    {count}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

/** The class of a cell's colour: one of four steps of right or wrong, by its share of the row. */
function shade(count: number, row: number[], right: boolean): string {
  if (count === 0) return '';
  const total = row.reduce((sum, value) => sum + value, 0);
  return `${right ? 'right' : 'wrong'}-${Math.min(4, Math.ceil((count / total) * 4))}`;
}
