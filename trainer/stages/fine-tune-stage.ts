/** Stage `fine-tune`: the network itself, which takes minutes, needs all originals, and goes on from a checkpoint. */
import { detailOf } from '#shared/codes.ts';
import stageFacts from '#shared/stages.json' with { type: 'json' };
import { restoreCheckpoint, storeCheckpoint } from '../checkpoint.ts';
import { narrow } from '../dataset.ts';
import { downloadOriginals } from '../originals.ts';
import { ChildRefusal } from '../python-child.ts';
import type { Stage } from './stage.ts';

/** More originals would fill the scratch disk and memory, and so many teach a head all it can learn. */
const { mostImages } = stageFacts['fine-tune'];

/** @param stopping aborted by SIGTERM: there is a checkpoint to hand over. */
export const createFineTuneStage = (stopping: AbortSignal): Stage => ({
  handOver: stopping,
  gather: async ({ postgres, bucket, settings }, lease, dataset, scratch, signal) => {
    if (dataset.images.length > mostImages) {
      throw new ChildRefusal('too-many-to-tune', detailOf('too-many-to-tune', { limit: mostImages }).message);
    }
    const there = await downloadOriginals(bucket, dataset.images, scratch.originals, signal);
    await restoreCheckpoint(postgres, lease, scratch.checkpoint);
    return {
      // An original that was removed or replaced meanwhile is not learned from.
      dataset: narrow(dataset, ({ id }) => there.has(id)),
      params: { seconds: settings.FINE_TUNE_SECONDS, checkpoint: scratch.checkpoint },
    };
  },
  interrupt: async ({ postgres }, lease, { checkpoint }) => {
    await storeCheckpoint(postgres, lease, checkpoint);
  },
  follow: async () => {},
});
