/**
 * The right of one worker to a run. Postgres's clock decides, and every write carries the attempt: a worker that was paused
 * and wakes up changes nothing that its successor owns.
 */
import { and, eq, type SQL, sql } from 'drizzle-orm';
import { type Database, type Queries, secondsFromNow } from '#shared/database.ts';
import { runs } from '#shared/schema.ts';
import type { Detail, Stage } from '#shared/words.ts';

/** This worker lost its lease: the run was cancelled, superseded or taken over, or its project is gone. */
export class LeaseLost extends Error {
  constructor({ runId, attempt }: Lease, reason = 'is no longer ours') {
    super(`Run ${runId}, attempt ${attempt}, ${reason}.`);
  }
}

/** A run with the right to work on it. */
export interface Lease {
  runId: string;
  projectId: string;
  attempt: number;
  revision: number;
  stage: Stage;
  backbone: string;
  /** Seconds that the run was due or queued before a worker took it. */
  waited: number;
}

/** Real failures after which a run is `failed`. */
const mostFailures = 3;

/** The condition that holds for the worker that has the lease, and for no other. */
export const isMine = ({ runId, attempt }: Lease): SQL =>
  and(eq(runs.id, runId), eq(runs.attempt, attempt), eq(runs.state, 'running'))!;

async function write(db: Queries, lease: Lease, values: Parameters<ReturnType<Queries['update']>['set']>[0]) {
  const written = await db.update(runs).set(values).where(isMine(lease)).returning({ id: runs.id });
  if (written.length === 0) throw new LeaseLost(lease);
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

/** Queues the run again, for any worker to take. @throws LeaseLost */
export const releaseLease = (db: Database, lease: Lease): Promise<void> =>
  write(db, lease, { state: 'queued', leaseExpiresAt: null });

/**
 * Ends the attempt by a real failure: the run is tried again until it failed {@link mostFailures} times, or never when `final`.
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
  if (!run) throw new LeaseLost(lease);
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
      lost.abort(new LeaseLost(lease, 'could not be kept: Postgres was out of reach for too long'));
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
