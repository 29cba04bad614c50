/** Handles the messages of the `training` queue. A message is only a hint: Postgres decides what to train. */
import { setTimeout as sleep } from 'node:timers/promises';
import { detailOf, isCode } from '#shared/codes.ts';
import { parseTrainingMessage } from '#shared/queues.ts';
import type { Detail } from '#shared/words.ts';
import { HandOver, Outage } from './consume.ts';
import { failRun, keepLease, type Lease, LeaseLost, releaseLease } from './lease.ts';
import { ChildRefusal } from './python-child.ts';
import { asOutageIfDiskFull } from './room.ts';
import { type TakeDeps, takeRun } from './take-run.ts';
import { type TrainingDeps, train } from './training.ts';

export type TrainDeps = TrainingDeps & TakeDeps;

/** Refusals that the same input would meet again. */
const finalCodes = ['too-few-images', 'too-many-to-tune', 'bad-input'];

/** @returns the handler, which resolves when the message is done with. */
export function createTrain(deps: TrainDeps): (body: string) => Promise<void> {
  return async (body) => {
    const lease = await takeSoon(deps, parseTrainingMessage(body).projectId);
    if (lease) await workOn(deps, lease);
  };
}

/** Takes a run; a project that is due within a second is waited for. */
async function takeSoon(deps: TrainDeps, projectId: string): Promise<Lease | null> {
  for (;;) {
    const taken = await takeRun(deps, projectId);
    if (taken.kind === 'taken') return taken.lease;
    if (taken.kind === 'nothing') return null;
    await sleep(taken.seconds * 1000);
  }
}

async function workOn(deps: TrainDeps, lease: Lease): Promise<void> {
  const { projectId, runId, attempt, revision, stage } = lease;
  const log = deps.log.child({ project: projectId, run: runId, attempt, revision, stage });
  log.info('training');
  const started = performance.now();
  const { handOver } = deps.stages[stage];
  try {
    const model = await keepLease(deps.db, lease, deps.settings.LEASE_SECONDS, (lost) =>
      train(deps, lease, AbortSignal.any([lost, handOver])),
    );
    log.info({ model, seconds: (performance.now() - started) / 1000 }, model ? 'published' : 'not published');
  } catch (error) {
    await handleFailure({ ...deps, log }, lease, handOver, error);
  }
}

/**
 * Returns when the run has failed for good, and its message can go.
 *
 * @throws HandOver, Outage or the error itself when the message has to come again.
 */
async function handleFailure(deps: TrainDeps, lease: Lease, handOver: AbortSignal, error: unknown): Promise<void> {
  const { db, log, settings } = deps;
  if (error instanceof LeaseLost) {
    // Cancelled, superseded or taken over: somebody else decides what happens next. Without Postgres the message comes again.
    log.info({ reason: error.message }, 'lease lost');
    throw new HandOver(error.message);
  }
  if (handOver.aborted) {
    await releaseLease(db, lease);
    throw new HandOver('this worker is stopping');
  }
  const final = error instanceof ChildRefusal && finalCodes.includes(error.code);
  const cause = final ? error : await asOutageIfDiskFull(settings.SCRATCH, error);
  if (cause instanceof Outage) {
    await releaseLease(db, lease);
    throw cause;
  }
  log.error({ err: error }, 'training failed');
  if (await failRun(db, lease, describeFailure(error), { final })) throw error;
}

function describeFailure(error: unknown): Detail {
  if (['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')) return detailOf('out-of-room');
  if (!(error instanceof ChildRefusal) || !isCode(error.code)) return detailOf('failed');
  return { ...detailOf(error.code), message: error.message };
}
