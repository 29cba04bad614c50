/**
 * When a project trains by itself, and when a training message is sent for it: the contract's "The way of the data", steps 4
 * and 5, as pure functions. Times are seconds of Postgres's clock. Only change-project.ts applies these rules.
 */
import { eq, sql } from 'drizzle-orm';
import type { Queries } from './database.ts';
import { images, projects } from './schema.ts';

/** The columns of a project's row that decide when it trains. */
export interface Schedule {
  /** When the project is due to train; null while no change waits for a training. */
  trainDueAt: number | null;
  /** The first change that no training has taken up. */
  dirtySince: number | null;
  /** When the latest message that was sent arrives. */
  messageAt: number | null;
  /** When all slots will be free again; see {@link nextSlot}. */
  slotsFreeAt: number | null;
}

/** What the settle time depends on. */
export interface SettleFacts {
  now: number;
  /** Whether an upload that was requested has not come yet. */
  pending: boolean;
}

/** How many automatic trainings of a project may start in a row. */
const slots = 4;
/** A slot becomes free again every so many seconds. */
const slotSeconds = 20;
/** Messages of a project arrive at least this many seconds apart; it is also the step of SQS's delays. */
const messageSeconds = 1;
/**
 * How many seconds too late a message on its way may be, or another one overtakes it: a change is to be trained soon, while a
 * worker that postpones its message has time.
 */
const lateSeconds = { change: 0.25, worker: messageSeconds };
/** A message that nobody has handled for so many seconds may be lost. */
const lostSeconds = 10;
/** The longest delay that SQS takes. */
const longestDelay = 900;

/** Reads what the settle time of a project depends on, in the transaction that changed it. */
export async function readSettleFacts(queries: Queries, projectId: string): Promise<SettleFacts> {
  const [facts] = await queries
    .select({
      now: sql<number>`extract(epoch from clock_timestamp())::float8`,
      pending: sql<boolean>`exists (select from ${images}
        where ${images.projectId} = ${projectId} and ${images.state} = 'pending')`,
    })
    .from(projects)
    .where(eq(projects.id, projectId));
  return facts!;
}

/** Without an upload on its way there is nothing to wait for. */
const settleSecondsOf = ({ pending }: SettleFacts, settleSeconds: number): number => (pending ? settleSeconds : 0);

/**
 * The first moment at which an automatic training may start. Slots are a token bucket, kept as one time (GCRA, the virtual
 * scheduling algorithm of ATM Forum TM 4.0): each training moves `slotsFreeAt` by the time that a slot needs to become free.
 */
export const nextSlot = ({ slotsFreeAt }: Schedule): number =>
  slotsFreeAt === null ? Number.NEGATIVE_INFINITY : slotsFreeAt - (slots - 1) * slotSeconds;

/**
 * The schedule after a change of the set of ready images or classes. A project that only waits for a worker or a slot is not
 * put off again: so a message overtakes another one at most once for each training.
 */
export function scheduleTraining(schedule: Schedule, facts: SettleFacts, settleSeconds: number): Schedule {
  const { now } = facts;
  const slot = nextSlot(schedule);
  const hasSettled = schedule.trainDueAt !== null && schedule.trainDueAt <= Math.max(now, slot);
  const settled = now + settleSecondsOf(facts, settleSeconds);
  return {
    ...schedule,
    dirtySince: schedule.dirtySince ?? now,
    trainDueAt: hasSettled ? schedule.trainDueAt : Math.max(settled, slot),
  };
}

/** The schedule after an upload ended without a change of the set: nothing may be left to wait for. */
export function scheduleSettled(schedule: Schedule, facts: SettleFacts): Schedule {
  if (schedule.trainDueAt === null || facts.pending) return schedule;
  return { ...schedule, trainDueAt: Math.min(schedule.trainDueAt, Math.max(facts.now, nextSlot(schedule))) };
}

/** Whether the project trains now: it has settled, or it never settles and was dirty for `dirtySeconds`. */
export function isDue(schedule: Schedule, now: number, dirtySeconds: number): boolean {
  const { trainDueAt, dirtySince } = schedule;
  if (trainDueAt === null) return false;
  if (trainDueAt <= now) return true;
  return dirtySince !== null && dirtySince + dirtySeconds <= now && nextSlot(schedule) <= now;
}

/** The schedule after a run took up all changes; an automatic one uses a slot. */
export function takeUpChanges(schedule: Schedule, now: number, automatic: boolean): Schedule {
  const slotsFreeAt = automatic ? Math.max(now, schedule.slotsFreeAt ?? now) + slotSeconds : schedule.slotsFreeAt;
  return { ...schedule, trainDueAt: null, dirtySince: null, slotsFreeAt };
}

/** Whether a change makes the project wait for another message than before, or the one before may be lost. */
export const needsMessage = (before: Schedule, after: Schedule, now: number): boolean =>
  after.trainDueAt !== null &&
  (after.trainDueAt !== before.trainDueAt || (after.messageAt ?? Number.NEGATIVE_INFINITY) < now - lostSeconds);

/**
 * Plans the message that has to arrive at `at`, if none is on its way that arrives in time: whoever handles that one plans the
 * next. Delays are rounded down; a worker holds a message that comes up to a second early.
 *
 * @param at null when nothing is due.
 * @returns the schedule with its new `messageAt`, and the delay in whole seconds; null when no message is needed.
 */
export function planMessage(
  schedule: Schedule,
  now: number,
  at: number | null,
  sender: keyof typeof lateSeconds,
): { schedule: Schedule; delaySeconds: number } | null {
  if (at === null) return null;
  const messageAt = schedule.messageAt ?? Number.NEGATIVE_INFINITY;
  const onItsWay = messageAt > now;
  if (onItsWay && messageAt <= at + lateSeconds[sender]) return null;
  const untilDue = Math.floor(at - now);
  const untilSpaced = onItsWay ? 0 : Math.ceil(messageAt + messageSeconds - now);
  // While the project may settle before `at`, a message that arrives late would have to be overtaken by another one: right
  // after a message the next one is only a second away instead.
  const maySettleBefore = at - Math.max(now, nextSlot(schedule)) > messageSeconds;
  const wanted = untilSpaced > 0 && maySettleBefore ? untilSpaced : Math.max(untilDue, untilSpaced);
  const delaySeconds = Math.min(longestDelay, Math.max(0, wanted));
  return { schedule: { ...schedule, messageAt: now + delaySeconds }, delaySeconds };
}
