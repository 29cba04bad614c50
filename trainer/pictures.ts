/** Pictures through the Python child of role `ingest`: decoded under limits, made a thumbnail of, embedded. */
import type { Log } from '#shared/log.ts';
import type { Detail } from '#shared/words.ts';
import { ChildDied, type PythonChild } from './python-child.ts';

/** Few enough that a crash of the decoder repeats little, enough to fill a batch of the network. */
export const picturesPerRequest = 16;

export interface Embedded {
  width: number;
  height: number;
  /** As decoded, whatever the upload claimed. */
  type: string;
  /** float32, little endian. */
  embedding: Buffer;
  /** That it took. */
  seconds: number;
}

/** What was seen in a picture, or why it is not taken. */
export type Seen = Embedded | { reason: Detail };

export interface Pictures {
  /** One outcome for each file, in order. A file whose decoding crashes the child is rejected, the others are not. */
  see: (backbone: string, files: { path: string; thumbnail?: string }[]) => Promise<Seen[]>;
}

type Answer = { image: number } & (
  | (Omit<Embedded, 'embedding'> & { embedding: string } & { reason?: undefined })
  | { reason: Detail }
);

/** How often a single picture may crash the child: the first time may have been somebody else's kill. */
const crashesAllowed = 2;

export function createPictures(torch: PythonChild, { pixels, log }: { pixels: number; log: Log }): Pictures {
  async function see(backbone: string, files: { path: string; thumbnail?: string }[]): Promise<Seen[]> {
    const seen: Seen[] = [];
    const images = files.map(({ path, thumbnail = null }) => ({ path, thumbnail }));
    await torch.request<Answer, unknown>(
      'ingest',
      { backbone, images, limits: { pixels } },
      {
        onEvent: (answer) => {
          seen[answer.image] = answer.reason
            ? { reason: answer.reason }
            : { ...answer, embedding: Buffer.from(answer.embedding, 'base64') };
        },
      },
    );
    return seen;
  }

  async function seeAlone(backbone: string, file: { path: string; thumbnail?: string }): Promise<Seen[]> {
    for (let crashes = 0; ; ) {
      try {
        return await see(backbone, [file]);
      } catch (error) {
        if (!(error instanceof ChildDied)) throw error;
        if (++crashes < crashesAllowed) continue;
        log.warn({ err: error }, 'a picture that crashes its decoder is rejected');
        return [{ reason: damaged }];
      }
    }
  }

  return {
    see: async (backbone, files) => {
      try {
        return await see(backbone, files);
      } catch (error) {
        if (!(error instanceof ChildDied)) throw error;
        const outcomes: Seen[] = [];
        for (const file of files) outcomes.push(...(await seeAlone(backbone, file)));
        return outcomes;
      }
    },
  };
}

const damaged: Detail = {
  code: 'damaged',
  params: {},
  message: 'This picture is damaged and cannot be opened. Please save it again or choose another one.',
};
