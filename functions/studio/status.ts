/** A project's status from the facts about it: the first that holds, in the contract's order. */
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

const detail = (code: string, message: string, params: Detail['params'] = {}): Detail => ({ code, params, message });

export function statusOf(facts: Facts): Status {
  const { classes, run } = facts;
  const enough = classes.filter(({ images }) => images.ready >= leastImages);
  const few = classes.filter(({ images }) => images.ready < leastImages).map(({ name }) => name);
  if (enough.length < leastClasses) return { status: 'collecting', statusDetail: missing(classes.length, few) };
  if (facts.running) return { status: 'training', statusDetail: null };
  const pending = classes.reduce((sum, { images }) => sum + images.pending, 0);
  if (pending > 0) {
    const message = `${pending} pictures are on their way.`;
    return { status: 'waiting', statusDetail: detail('uploading', message, { count: pending }) };
  }
  if (facts.queued) return { status: 'waiting', statusDetail: detail('queued', 'Waiting for a free computer.') };
  if (facts.due) return { status: 'waiting', statusDetail: detail('settling', 'Training starts in a moment.') };
  if (run?.state === 'failed' && run.stage === 'head' && run.revision === facts.revision)
    return { status: 'failed', statusDetail: run.error };
  if (facts.model) return { status: 'ready', statusDetail: few.length > 0 ? leftOut(few) : null };
  // Nothing is under way and there is no model: the learner cancelled the only run.
  return { status: 'waiting', statusDetail: detail('stopped', 'Training was stopped. Start it when you are ready.') };
}

function missing(count: number, few: string[]): Detail {
  if (count < leastClasses) {
    return detail('needs-classes', `A model needs at least ${leastClasses} classes.`, { least: leastClasses });
  }
  const message = `Each class needs at least ${leastImages} pictures. Still missing: ${few.join(', ')}.`;
  return detail('needs-images', message, { least: leastImages, classes: few });
}

const leftOut = (few: string[]): Detail =>
  detail('left-out', `These classes have fewer than ${leastImages} pictures and are left out: ${few.join(', ')}.`, {
    least: leastImages,
    classes: few,
  });
