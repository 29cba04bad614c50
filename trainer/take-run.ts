/** What a training message finds to do (the contract's table, step 5): the message is a hint, Postgres decides. */
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { type ChangeDeps, changeProject, type ProjectChange } from '#shared/change-project.ts';
import { chosenBackbone } from '#shared/chosen-backbone.ts';
import { databaseTime, type Queries, secondsFromNow } from '#shared/database.ts';
import { isDue, readSettleFacts } from '#shared/schedule.ts';
import { runs } from '#shared/schema.ts';
import type { SettingsOf } from '#shared/settings.ts';
import type { Stage } from '#shared/words.ts';
import { canTrain } from './dataset.ts';
import type { Lease } from './lease.ts';
import { findBefore } from './turns.ts';

export interface TakeDeps extends ChangeDeps {
  settings: SettingsOf<'BACKBONES' | 'LEASE_SECONDS' | 'DIRTY_SECONDS' | 'SETTLE_SECONDS'>;
}

export type Taken =
  | { kind: 'taken'; lease: Lease }
  /** The project is due within a second: delays of messages are whole seconds, so the worker holds this one. */
  | { kind: 'soon'; seconds: number }
  /** Nothing to do now; a message that arrives in time is on its way where there will be something. */
  | { kind: 'nothing' };

interface OpenRun {
  id: string;
  stage: Stage;
  /** Seconds until the lease of the worker that has the run expires; null when nobody has it. */
  leaseSeconds: number | null;
  /** Seconds since the run was queued. */
  waited: number;
}

/** A message comes this much early at most: a shorter time is waited for, a longer one gets a message of its own. */
const heldSeconds = 1;
/** How long a message waits at most behind a run that is under way. */
const busySeconds = 5;

/** Takes what there is to train in a project, or in another one whose learner has waited longer. */
export async function takeRun(deps: TakeDeps, projectId: string): Promise<Taken> {
  const before = await findBefore(deps.db, projectId);
  if (before && before.seconds > 0) return await postpone(deps, projectId, before.seconds);
  const taken = before && (await takeOwnRun(deps, before.id));
  // Another worker was faster, or that project had too few images.
  if (taken?.kind !== 'taken') return await takeOwnRun(deps, projectId);
  // The message was for this project, which needs another one, whatever becomes of that run.
  await postpone(deps, projectId, 0);
  return taken;
}

async function postpone(deps: TakeDeps, projectId: string, seconds: number): Promise<Taken> {
  return (await changeProject(deps, projectId, async (change): Promise<Taken> => wait(change, seconds))) ?? nothing;
}

const nothing: Taken = { kind: 'nothing' };

function wait({ requestMessage }: ProjectChange, seconds: number): Taken {
  requestMessage(Math.min(seconds, busySeconds));
  return nothing;
}

/**
 * Takes what a project has to train, if anything: a run whose worker is gone, else the oldest that a learner asked for, else
 * what is due by itself. Fine-tuning comes last: it waits until the learner's changes have their quick model.
 */
async function takeOwnRun(deps: TakeDeps, projectId: string): Promise<Taken> {
  const taken = await changeProject(deps, projectId, async (change): Promise<Taken> => {
    const { transaction, project, requestMessage } = change;
    const { now } = await readSettleFacts(transaction, projectId);
    const open = await readOpenRuns(transaction, projectId);
    const heads = sortOut(open, 'head');
    if (heads.held) return wait(change, heads.held.leaseSeconds!);
    if (heads.next) return await takeOpenRun(deps, change, heads.next);
    if (isDue(project.schedule, now, deps.settings.DIRTY_SECONDS)) return await createRun(deps, change, now);
    if (project.schedule.trainDueAt !== null) {
      const seconds = project.schedule.trainDueAt - now;
      if (seconds <= heldSeconds) return { kind: 'soon', seconds };
      requestMessage();
      return nothing;
    }
    const tunings = sortOut(open, 'fine-tune');
    if (tunings.held) return wait(change, tunings.held.leaseSeconds!);
    return tunings.next ? await takeOpenRun(deps, change, tunings.next) : nothing;
  });
  return taken ?? nothing;
}

/** The runs of a project that have not ended: those whose worker is gone first, then the oldest first. */
async function readOpenRuns(transaction: Queries, projectId: string): Promise<OpenRun[]> {
  return await transaction
    .select({
      id: runs.id,
      stage: runs.stage,
      leaseSeconds: sql<
        number | null
      >`case when ${runs.state} = 'running' and ${runs.leaseExpiresAt} > clock_timestamp()
        then extract(epoch from ${runs.leaseExpiresAt} - clock_timestamp())::float8 end`,
      waited: sql<number>`extract(epoch from clock_timestamp() - ${runs.createdAt})::float8`,
    })
    .from(runs)
    .where(and(eq(runs.projectId, projectId), inArray(runs.state, ['running', 'queued'])))
    .orderBy(sql`${runs.state} = 'queued'`, asc(runs.createdAt));
}

/** The run of a stage that another worker holds, and the one to take next. */
function sortOut(open: OpenRun[], stage: Stage): { held?: OpenRun | undefined; next?: OpenRun | undefined } {
  const own = open.filter((run) => run.stage === stage);
  return {
    held: own.find(({ leaseSeconds }) => leaseSeconds !== null),
    next: own.find(({ leaseSeconds }) => leaseSeconds === null),
  };
}

/** A run always takes the newest revision, and with it everything that was due. */
const startValues = ({ settings }: TakeDeps, { project }: ProjectChange) => ({
  state: 'running' as const,
  revision: project.revision,
  leaseExpiresAt: secondsFromNow(settings.LEASE_SECONDS),
  startedAt: databaseTime,
  percent: 0,
  secondsLeft: null,
});

async function takeOpenRun(deps: TakeDeps, change: ProjectChange, { id, waited }: OpenRun): Promise<Taken> {
  change.takeUp({ automatic: false });
  const [run] = await change.transaction
    .update(runs)
    .set({ ...startValues(deps, change), attempt: sql`${runs.attempt} + 1` })
    .where(eq(runs.id, id))
    .returning();
  return { kind: 'taken', lease: leaseOf(run!, waited) };
}

/** Creates the automatic run of the newest revision. */
async function createRun(deps: TakeDeps, change: ProjectChange, now: number): Promise<Taken> {
  const { transaction, project, takeUp } = change;
  if (!(await canTrain(transaction, project.id))) {
    takeUp({ automatic: false });
    return nothing;
  }
  takeUp({ automatic: true });
  const [run] = await transaction
    .insert(runs)
    .values({
      ...startValues(deps, change),
      projectId: project.id,
      automatic: true,
      attempt: 1,
      stage: 'head',
      backbone: await chosenBackbone(transaction, project.id, deps.settings.BACKBONES),
    })
    // The revision had its one automatic run already.
    .onConflictDoNothing()
    .returning();
  if (!run) return nothing;
  return { kind: 'taken', lease: leaseOf(run, Math.max(0, now - (project.schedule.trainDueAt ?? now))) };
}

const leaseOf = (run: typeof runs.$inferSelect, waited: number): Lease => ({
  runId: run.id,
  projectId: run.projectId,
  attempt: run.attempt,
  revision: run.revision,
  stage: run.stage,
  backbone: run.backbone,
  waited,
});
