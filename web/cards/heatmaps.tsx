/** In the second card: what of some pictures speaks for their class, and what that says of a class. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Image, Report } from '#shared/words.ts';
import { api } from '../api.ts';
import { useStrings } from '../strings/index.ts';

type Heatmap = NonNullable<Report['heatmaps']>[number];

/** As trainer/python/report.py has it. */
const backgroundAbove = 0.65;
const toldApart = 0.7;
const brightest = 99;

export function Heatmaps({ projectId, report }: { projectId: string; report: Report }) {
  const strings = useStrings();
  const [open, setOpen] = useState(false);
  const heatmaps = report.heatmaps ?? [];
  const images = useThumbnails(projectId, open ? heatmaps : []);
  if (heatmaps.length === 0) return null;
  return (
    <details class="heatmaps" onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>{strings.looksTitle}</summary>
      <p class="hint">{strings.looksHelp}</p>
      {report.classes.map(({ name, accuracy, background }) => (
        <div key={name}>
          <h3>{name}</h3>
          {(background ?? 0) > backgroundAbove && (accuracy ?? 0) >= toldApart && <p>{strings.looksAround}</p>}
          <ul>
            {heatmaps
              .filter((one) => one.class === name)
              .map((one) => (
                <Spotlight key={one.image} cells={one.cells} image={images.get(one.image)} />
              ))}
          </ul>
        </div>
      ))}
    </details>
  );
}

/** By id; a picture that is gone since has none. */
function useThumbnails(projectId: string, heatmaps: Heatmap[]): Map<string, Image> {
  const [images, keep] = useState(new Map<string, Image>());
  const ids = heatmaps.map(({ image }) => image).join(',');
  useEffect(() => {
    if (!ids) return;
    let gone = false;
    // Without a connection the page says so elsewhere.
    api.images(projectId, { ids }).then(
      (answer) => gone || keep(new Map(answer.images.map((image) => [image.id, image]))),
      () => {},
    );
    return () => {
      gone = true;
    };
  }, [projectId, ids]);
  return images;
}

/** A picture, dark where nothing of it speaks for its class. */
function Spotlight({ cells, image }: { cells: number[][]; image: Image | undefined }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const shown = image?.thumbnailUrl != null;
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!shown || !context) return;
    const shade = context.createImageData(cells[0]!.length, cells.length);
    cells.flat().forEach((value, place) => {
      shade.data[4 * place + 3] = 220 * (1 - value / brightest);
    });
    // The browser draws it as large as the picture, with soft steps.
    context.putImageData(shade, 0, 0);
  }, [cells, shown]);
  if (!image?.thumbnailUrl) return null;
  return (
    <li>
      <img src={image.thumbnailUrl} alt={image.name} decoding="async" />
      <canvas ref={canvas} width={cells[0]!.length} height={cells.length} />
    </li>
  );
}
