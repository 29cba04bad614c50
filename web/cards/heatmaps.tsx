/** Part of the second card: which parts of some pictures made the model decide for their class. */
import { useEffect, useRef, useState } from 'preact/hooks';
import thresholds from '#shared/thresholds.json' with { type: 'json' };
import type { Image, Report } from '#shared/words.ts';
import { api } from '../api.ts';
import { useStrings } from '../strings/languages.ts';

type Heatmap = NonNullable<Report['heatmaps']>[number];

type ReportClass = Report['classes'][number];

/** Alpha (0 to 255) of the shade on a cell that says nothing for the class. */
const darkestShade = 220;

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
      {report.classes.map((item) => (
        <div key={item.name}>
          <h3>{item.name}</h3>
          {looksAtBackground(item) && <p>{strings.looksAround}</p>}
          <ul>
            {heatmaps
              .filter((heatmap) => heatmap.class === item.name)
              .map(({ image, cells }) => (
                <Spotlight key={image} cells={cells} image={images.get(image)} />
              ))}
          </ul>
        </div>
      ))}
    </details>
  );
}

/** The model is right about the class, but by what is around it: a class that it gets wrong needs other advice. */
function looksAtBackground({ background, accuracy }: ReportClass): boolean {
  const { above, accuracyAtLeast } = thresholds.background;
  return (background ?? 0) > above && (accuracy ?? 0) >= accuracyAtLeast;
}

/** Fetches the pictures of heatmaps, by id. A picture that was removed since is missing. */
function useThumbnails(projectId: string, heatmaps: Heatmap[]): Map<string, Image> {
  const [images, setImages] = useState(new Map<string, Image>());
  const ids = heatmaps.map(({ image }) => image).join(',');
  useEffect(() => {
    if (!ids) return;
    let current = true;
    // Without an answer no picture is shown; the trouble bar shows a lost connection.
    api.images(projectId, { ids }).then(
      (answer) => current && setImages(new Map(answer.images.map((image) => [image.id, image]))),
      () => {},
    );
    return () => {
      current = false;
    };
  }, [projectId, ids]);
  return images;
}

/** A picture, shaded where it says nothing for its class. */
function Spotlight({ cells, image }: { cells: number[][]; image: Image | undefined }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const shown = image?.thumbnailUrl != null;
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!shown || !context) return;
    const shade = context.createImageData(cells[0]!.length, cells.length);
    cells.flat().forEach((value, index) => {
      shade.data[4 * index + 3] = darkestShade * (1 - value / thresholds.brightestCell);
    });
    // CSS scales the canvas to the picture's size, with smooth steps.
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
