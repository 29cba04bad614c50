/**
 * The one way to change a project: {@link changeProject} locks its row, runs the caller's work, raises the revision, decides
 * when the project trains, commits, and sends the training messages that are needed. Nothing else locks a project, sets its
 * due time or sends a training message.
 */
import { and, eq, isNull, type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { type Database, databaseTime, type Queries } from './database.ts';
import type { Queues } from './queues.ts';
import {
  needsMessage,
  planMessage,
  readSettleFacts,
  type Schedule,
  type SettleFacts,
  scheduleSettled,
  scheduleTraining,
  takeUpChanges,
} from './schedule.ts';
import { projects } from './schema.ts';
import type { SettingsOf } from './settings.ts';

export interface ChangeDeps {
  db: Database;
  queues: Pick<Queues, 'sendTraining'>;
  settings: SettingsOf<'SETTLE_SECONDS'>;
}

/** A project whose row is locked until the change is committed. */
export interface LockedProject {
  id: string;
  revision: number;
  currentModelId: string | null;
  schedule: Schedule;
}

/** A change under way: the caller's work writes through `transaction` and says here what follows from what it wrote. */
export interface ProjectChange {
  transaction: Queries;
  project: LockedProject;
  /** The set of ready images or classes changed: raises the revision and makes the training due. */
  raiseRevision: () => void;
  /** An upload ended without changing that set (rejected, removed): nothing may be left to wait for. */
  settle: () => void;
  /** A run takes up all changes so far: nothing is due any more. An automatic run uses one of the project's slots. */
  takeUp: (run: { automatic: boolean }) => void;
  /** Makes sure that a message arrives when the training is due, or after `seconds` when they are given. */
  requestMessage: (seconds?: number) => void;
  /** Sends a message for a run of its own, whatever the project's schedule says. */
  announceRun: (runId: string, delaySeconds?: number) => void;
}

/** What a change asked for while its work ran. */
interface Requests {
  raised: boolean;
  settled: boolean;
  takenUp: { automatic: boolean } | null;
  /** Seconds from now; null: when the training is due. */
  message: { seconds: number | null } | null;
  runs: { runId: string; delaySeconds: number }[];
}

/**
 * Changes a project in one transaction that holds its lock, then sends what has to be sent.
 *
 * @param work writes in batches, not row by row; what it throws rolls everything back.
 * @param afterCommit runs beside the sending of messages, with what `work` returned.
 * @returns what `work` returned, or null when the project is deleted or was never there.
 * @throws Error when a message could not be sent: the change stands all the same, and maintain sends what is missing.
 */
export async function changeProject<T extends NonNullable<unknown>>(
  deps: ChangeDeps,
  projectId: string,
  work: (change: ProjectChange) => Promise<T>,
  afterCommit: (result: T) => Promise<unknown> = async () => {},
): Promise<T | null> {
  const requests: Requests = { raised: false, settled: false, takenUp: null, message: null, runs: [] };
  const outcome = await deps.db.transaction(async (transaction) => {
    const project = await lockProject(transaction, projectId);
    if (!project) return null;
    const result = await work({ transaction, project, ...recordRequests(requests) });
    return { result, delaySeconds: await applyRequests(transaction, project, requests, deps.settings.SETTLE_SECONDS) };
  });
  if (!outcome) return null;
  const { result, delaySeconds } = outcome;
  await Promise.all([
    afterCommit(result),
    delaySeconds !== null && deps.queues.sendTraining({ projectId }, delaySeconds),
    ...requests.runs.map(({ runId, delaySeconds: delay }) => deps.queues.sendTraining({ projectId, runId }, delay)),
  ]);
  return result;
}

const epoch = (column: SQLWrapper) => sql<number | null>`extract(epoch from ${column})::float8`;

async function lockProject(transaction: Queries, projectId: string): Promise<LockedProject | null> {
  const [row] = await transaction
    .select({
      revision: projects.revision,
      currentModelId: projects.currentModelId,
      trainDueAt: epoch(projects.trainDueAt),
      dirtySince: epoch(projects.dirtySince),
      messageAt: epoch(projects.messageAt),
      slotsFreeAt: epoch(projects.slotsFreeAt),
    })
    .from(projects)
    .where(and(eq(projects.id, projectId), isNull(projects.deletedAt)))
    .for('update');
  if (!row) return null;
  const { revision, currentModelId, ...schedule } = row;
  return { id: projectId, revision, currentModelId, schedule };
}

const recordRequests = (requests: Requests): Omit<ProjectChange, 'transaction' | 'project'> => ({
  raiseRevision: () => {
    requests.raised = true;
  },
  settle: () => {
    requests.settled = true;
  },
  takeUp: (run) => {
    requests.takenUp = run;
  },
  requestMessage: (seconds) => {
    requests.message = { seconds: seconds ?? null };
  },
  announceRun: (runId, delaySeconds = 0) => {
    requests.runs.push({ runId, delaySeconds });
  },
});

/** Writes what follows from a change. @returns the delay of the message to send after the commit, or null for none. */
async function applyRequests(
  transaction: Queries,
  project: LockedProject,
  requests: Requests,
  settleSeconds: number,
): Promise<number | null> {
  const { raised, settled, takenUp, message } = requests;
  if (!raised && !settled && !takenUp && !message) return null;
  const facts = await readSettleFacts(transaction, project.id);
  const changed = reschedule(project.schedule, facts, requests, settleSeconds);
  const at = message?.seconds != null ? facts.now + message.seconds : changed.trainDueAt;
  const sender = message ? 'worker' : 'change';
  const wanted = message !== null || needsMessage(project.schedule, changed, facts.now);
  const planned = wanted ? planMessage(changed, facts.now, at, sender) : null;
  if (!planned && changed === project.schedule) return null;
  const { trainDueAt, dirtySince, messageAt, slotsFreeAt } = planned?.schedule ?? changed;
  await transaction
    .update(projects)
    .set({
      trainDueAt: timestamp(trainDueAt),
      dirtySince: timestamp(dirtySince),
      messageAt: timestamp(messageAt),
      slotsFreeAt: timestamp(slotsFreeAt),
      ...(takenUp && { servedAt: databaseTime }),
      ...(raised && { revision: sql`${projects.revision} + 1`, usedAt: databaseTime }),
    })
    .where(eq(projects.id, project.id));
  return planned?.delaySeconds ?? null;
}

function reschedule(schedule: Schedule, facts: SettleFacts, requests: Requests, settleSeconds: number): Schedule {
  let changed = schedule;
  if (requests.takenUp) changed = takeUpChanges(changed, facts.now, requests.takenUp.automatic);
  if (requests.raised) changed = scheduleTraining(changed, facts, settleSeconds);
  if (requests.settled) changed = scheduleSettled(changed, facts);
  return changed;
}

const timestamp = (seconds: number | null): SQL<Date> | null =>
  seconds === null ? null : sql<Date>`to_timestamp(${seconds}::float8)`;
