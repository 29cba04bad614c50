/**
 * Who may work on a run. Postgres's clock decides, and every write carries the attempt: a worker that was paused and wakes up
 * changes nothing that its successor owns.
 */
import { and, asc, eq, isNull, type SQL, sql } from 'drizzle-orm';
import { chosenBackbone } from '#shared/chosen-backbone.ts';
import { type Database, databaseTime, type Queries, secondsFromNow } from '#shared/database.ts';
import { projects, runs } from '#shared/schema.ts';
import type { SettingsOf } from '#shared/settings.ts';
import type { Detail, Stage } from '#shared/words.ts';
import { canTrain } from './dataset.ts';
import { findBefore } from './turns.ts';

/** This worker is no longer the one: the run was cancelled, taken over, or its project is gone. */
export class LeaseLost extends Error {}

/** A run with the right to work on it. */
export interface Lease {
  runId: string;
  projectId: string;
  attempt: number;
  revision: number;
  stage: Stage;
  backbone: string;
  /** Seconds that it was due or queued before a worker took it. */
  waited: number;
}

export type Taken =
  | { kind: 'taken'; lease: Lease }
  /** Another worker is at it, or somebody else's turn is near; `seconds` until its lease would run out, or until that. */
  | { kind: 'busy'; seconds: number }
  /** Due in `seconds`, which a message that is still to come will find. */
  | { kind: 'early'; seconds: number }
  | { kind: 'nothing' };

type LeaseSettings = SettingsOf<'BACKBONES' | 'LEASE_SECONDS' | 'DIRTY_SECONDS'>;

/** Real failures after which a run is given up. */
const mostFailures = 3;

/** Takes what there is to train in a project that someone knocked for, or in another one whose turn it is. */
export async function takeRun(db: Database, projectId: string, settings: LeaseSettings): Promise<Taken> {
  const before = await findBefore(db, projectId);
  if (before && before.seconds > 0) return { kind: 'busy', seconds: before.seconds };
  const taken = before && (await takeOwn(db, before.id, settings));
  // Another worker was faster, or it had too few images.
  return taken?.kind === 'taken' ? taken : await takeOwn(db, projectId, settings);
}

/**
 * Takes what a project has to train, if anything: a run whose worker is gone, else the oldest that a learner asked for, else
 * what is due by itself. A run always takes the newest revision, and with it everything that was due.
 */
async function takeOwn(db: Database, projectId: string, settings: LeaseSettings): Promise<Taken> {
  return await db.transaction(async (transaction): Promise<Taken> => {
    const [project] = await transaction
      .select({
        revision: projects.revision,
        due: sql<boolean>`${projects.trainDueAt} <= clock_timestamp()
          or ${projects.dirtySince} <= clock_timestamp() - make_interval(secs => ${settings.DIRTY_SECONDS})`,
        seconds: sql<number | null>`extract(epoch from ${projects.trainDueAt} - clock_timestamp())::float8`,
      })
      .from(projects)
      .where(and(eq(projects.id, projectId), isNull(projects.deletedAt)))
      .for('update');
    if (!project) return { kind: 'nothing' };

    const [oldest] = await transaction
      .select({
        id: runs.id,
        state: runs.state,
        stage: runs.stage,
        seconds: sql<number>`extract(epoch from ${runs.leaseExpiresAt} - clock_timestamp())::float8`,
        waited: sql<number>`extract(epoch from clock_timestamp() - ${runs.createdAt})::float8`,
      })
      .from(runs)
      .where(and(eq(runs.projectId, projectId), sql`${runs.state} in ('running', 'queued')`))
      .orderBy(sql`${runs.state} = 'queued'`, sql`${runs.stage} = 'fine-tune'`, asc(runs.createdAt))
      .limit(1);
    // Fine-tuning waits until the learner's changes have their quick model; who trains that knocks for it again.
    const later = oldest?.state === 'queued' && oldest.stage === 'fine-tune' && project.seconds !== null;
    const waiting = later ? undefined : oldest;
    if (waiting?.state === 'running' && waiting.seconds > 0) return { kind: 'busy', seconds: waiting.seconds };
    if (!waiting && project.seconds === null) return { kind: 'nothing' };
    if (!waiting && !project.due) return { kind: 'early', seconds: project.seconds ?? 0 };

    await transaction.update(projects).set({ trainDueAt: null, dirtySince: null }).where(eq(projects.id, projectId));
    if (!waiting && !(await canTrain(transaction, projectId))) return { kind: 'nothing' };

    const taking = {
      state: 'running' as const,
      revision: project.revision,
      leaseExpiresAt: secondsFromNow(settings.LEASE_SECONDS),
      startedAt: databaseTime,
      percent: 0,
      secondsLeft: null,
    };
    const [run] = waiting
      ? await transaction
          .update(runs)
          .set({ ...taking, attempt: sql`${runs.attempt} + 1` })
          .where(eq(runs.id, waiting.id))
          .returning()
      : await transaction
          .insert(runs)
          .values({
            ...taking,
            projectId,
            automatic: true,
            attempt: 1,
            stage: 'head',
            backbone: await chosenBackbone(transaction, projectId, settings.BACKBONES),
          })
          // The revision had its one automatic run already.
          .onConflictDoNothing()
          .returning();
    if (!run) return { kind: 'nothing' };
    await transaction.update(projects).set({ servedAt: databaseTime }).where(eq(projects.id, projectId));
    const { id: runId, attempt, revision, stage, backbone } = run;
    const waited = Math.max(0, waiting ? waiting.waited : -(project.seconds ?? 0));
    return { kind: 'taken', lease: { runId, projectId, attempt, revision, stage, backbone, waited } };
  });
}

/** Holds for writes of the worker that has the lease, and for no other. */
export const isMine = ({ runId, attempt }: Lease): SQL =>
  and(eq(runs.id, runId), eq(runs.attempt, attempt), eq(runs.state, 'running'))!;

async function write(db: Queries, lease: Lease, values: Parameters<ReturnType<Queries['update']>['set']>[0]) {
  const written = await db.update(runs).set(values).where(isMine(lease)).returning({ id: runs.id });
  if (written.length === 0) throw new LeaseLost(`Run ${lease.runId}, attempt ${lease.attempt}, is no longer ours.`);
}

/** @throws LeaseLost */
export const extendLease = (db: Database, lease: Lease, seconds: number): Promise<void> =>
  write(db, lease, { leaseExpiresAt: secondsFromNow(seconds) });

/** @throws LeaseLost */
export const writeProgress = (
  db: Database,
  lease: Lease,
  { percent, secondsLeft }: { percent: number; secondsLeft: number | null },
): Promise<void> => write(db, lease, { percent, secondsLeft });

/** Gives the run back, to be taken by whoever is next. @throws LeaseLost */
export const releaseLease = (db: Database, lease: Lease): Promise<void> =>
  write(db, lease, { state: 'queued', leaseExpiresAt: null });

/**
 * Ends the attempt by a real failure: the run is tried again until it failed three times, or never when `final`.
 *
 * @returns whether it is tried again.
 * @throws LeaseLost
 */
export async function failRun(db: Database, lease: Lease, error: Detail, { final = false } = {}): Promise<boolean> {
  const [run] = await db
    .update(runs)
    .set({
      failures: sql`${runs.failures} + 1`,
      state: sql`case when ${final} or ${runs.failures} + 1 >= ${mostFailures} then 'failed' else 'queued' end::run_state`,
      finishedAt: sql`case when ${final} or ${runs.failures} + 1 >= ${mostFailures} then clock_timestamp() end`,
      error,
      leaseExpiresAt: null,
    })
    .where(isMine(lease))
    .returning({ state: runs.state });
  if (!run) throw new LeaseLost(`Run ${lease.runId}, attempt ${lease.attempt}, is no longer ours.`);
  return run.state === 'queued';
}

/**
 * Works under the lease: extended every third of its time. `signal` is aborted with {@link LeaseLost} when a write says so,
 * or when Postgres could not be reached for so long that another worker may soon have the run.
 */
export async function keepLease<T>(
  db: Database,
  lease: Lease,
  seconds: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const lost = new AbortController();
  let heldUntil = performance.now() + seconds * 1000;
  const beat = setInterval(
    () => {
      const asked = performance.now();
      extendLease(db, lease, seconds).then(
        () => {
          heldUntil = asked + seconds * 1000;
        },
        (error) => error instanceof LeaseLost && lost.abort(error),
      );
    },
    (seconds * 1000) / 3,
  );
  const watch = setInterval(
    () => {
      if (performance.now() < heldUntil - (seconds * 1000) / 6) return;
      lost.abort(new LeaseLost(`Postgres was out of reach for too long to keep run ${lease.runId}.`));
    },
    (seconds * 1000) / 20,
  );
  try {
    return await work(lost.signal);
  } catch (error) {
    // What was under way was ended for that reason, whatever it says itself: no failure of the run's own.
    throw lost.signal.aborted ? lost.signal.reason : error;
  } finally {
    clearInterval(beat);
    clearInterval(watch);
  }
}
