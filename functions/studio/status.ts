/** A project's status from the facts about it: the first that holds, in the contract's order. */
import { detailOf } from '#shared/codes.ts';
import {
  type Detail,
  leastClasses,
  leastImages,
  type ProjectStatus,
  type RunState,
  type Stage,
} from '#shared/words.ts';

export interface Facts {
  revision: number;
  /** A change is waiting for its training. */
  due: boolean;
  classes: { name: string; images: { ready: number; pending: number } }[];
  /** The newest. */
  run: { revision: number; state: RunState; stage: Stage; error: Detail | null } | null;
  /** A run of the head is at work or waits for a worker; need not be the newest. Fine-tuning changes no status. */
  running: boolean;
  queued: boolean;
  /** Of the current model. */
  model: { revision: number } | null;
}

export interface Status {
  status: ProjectStatus;
  statusDetail: Detail | null;
}

export function statusOf(facts: Facts): Status {
  const { classes, run } = facts;
  const enough = classes.filter(({ images }) => images.ready >= leastImages);
  const few = classes.filter(({ images }) => images.ready < leastImages).map(({ name }) => name);
  if (enough.length < leastClasses) return { status: 'collecting', statusDetail: missing(classes.length, few) };
  if (facts.running) return { status: 'training', statusDetail: null };
  const pending = classes.reduce((sum, { images }) => sum + images.pending, 0);
  if (pending > 0) {
    return { status: 'waiting', statusDetail: detailOf('uploading', { count: pending }) };
  }
  if (facts.queued) return { status: 'waiting', statusDetail: detailOf('queued') };
  if (facts.due) return { status: 'waiting', statusDetail: detailOf('settling') };
  if (run?.state === 'failed' && run.stage === 'head' && run.revision === facts.revision)
    return { status: 'failed', statusDetail: run.error };
  if (facts.model)
    return {
      status: 'ready',
      statusDetail: few.length > 0 ? detailOf('left-out', { least: leastImages, classes: few }) : null,
    };
  // Nothing is under way and there is no model: the learner cancelled the only run.
  return { status: 'waiting', statusDetail: detailOf('stopped') };
}

const missing = (classCount: number, few: string[]): Detail =>
  classCount < leastClasses
    ? detailOf('needs-classes', { least: leastClasses })
    : detailOf('needs-images', { least: leastImages, classes: few });
