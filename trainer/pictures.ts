/** Pictures through the Python child of role `ingest`: decoded under limits, made a thumbnail of, embedded. */
import pLimit from 'p-limit';
import { detailOf } from '#shared/codes.ts';
import type { Log } from '#shared/log.ts';
import type { Detail } from '#shared/words.ts';
import { ChildDied, type PythonChild } from './python-child.ts';

/** Few enough that a crash of the decoder repeats little, enough to fill a batch of the network. */
export const picturesPerRequest = 16;

export interface PictureFile {
  path: string;
  /** Where the thumbnail is written, if one is wanted. */
  thumbnail?: string;
}

export interface EmbeddedPicture {
  width: number;
  height: number;
  /** As decoded, whatever the upload claimed. */
  type: string;
  /** float32, little endian. */
  embedding: Buffer;
  /** The time that it took. */
  seconds: number;
}

/** An embedded picture, or why it is not taken. */
export type PictureResult = EmbeddedPicture | { reason: Detail };

export interface Pictures {
  /** Gives a result for each file, in order. A file whose decoding crashes the child is rejected, the others are not. */
  embed: (backbone: string, files: PictureFile[]) => Promise<PictureResult[]>;
}

type Answer = { image: number } & (
  | (Omit<EmbeddedPicture, 'embedding'> & { embedding: string } & { reason?: undefined })
  | { reason: Detail }
);

/** How often a single picture may crash the child: the first time may have been somebody else's kill. */
const crashesAllowed = 2;

export function createPictures(child: PythonChild, { pixels, log }: { pixels: number; log: Log }): Pictures {
  // One call at a time: a crash must not be blamed on the pictures of another call that waits.
  const limit = pLimit(1);

  async function embed(backbone: string, files: PictureFile[]): Promise<PictureResult[]> {
    const results: PictureResult[] = [];
    const images = files.map(({ path, thumbnail = null }) => ({ path, thumbnail }));
    await child.request<Answer, unknown>(
      'ingest',
      { backbone, images, limits: { pixels } },
      {
        onEvent: (answer) => {
          results[answer.image] = answer.reason
            ? { reason: answer.reason }
            : { ...answer, embedding: Buffer.from(answer.embedding, 'base64') };
        },
      },
    );
    return results;
  }

  async function embedAlone(backbone: string, file: PictureFile): Promise<PictureResult> {
    for (let crashes = 0; ; ) {
      try {
        const [result] = await embed(backbone, [file]);
        return result!;
      } catch (error) {
        if (!(error instanceof ChildDied)) throw error;
        if (++crashes < crashesAllowed) continue;
        log.warn({ err: error }, 'a picture that crashes its decoder is rejected');
        return { reason: detailOf('damaged') };
      }
    }
  }

  async function embedAll(backbone: string, files: PictureFile[]): Promise<PictureResult[]> {
    try {
      return await embed(backbone, files);
    } catch (error) {
      if (!(error instanceof ChildDied)) throw error;
      const results: PictureResult[] = [];
      for (const file of files) results.push(await embedAlone(backbone, file));
      return results;
    }
  }

  return {
    embed: async (backbone, files) => (files.length > 0 ? await limit(() => embedAll(backbone, files)) : []),
  };
}
