/** What everybody does who changes a project's set of ready images or classes. */
import { and, eq, isNull, sql } from 'drizzle-orm';
import { type Queries, secondsFromNow } from './database.ts';
import type { Queues } from './queues.ts';
import { projects } from './schema.ts';

/**
 * Raises the project's revision and makes its training due after the settle time, in the transaction of the change itself,
 * whose lock on the project's row orders it against every other change. After the commit: {@link announceRevision}.
 *
 * @returns whether the project is there to train.
 */
export async function raiseRevision(transaction: Queries, projectId: string, settleSeconds: number): Promise<boolean> {
  const raised = await transaction
    .update(projects)
    .set({
      revision: sql`${projects.revision} + 1`,
      trainDueAt: secondsFromNow(settleSeconds),
      dirtySince: sql`coalesce(${projects.dirtySince}, clock_timestamp())`,
      usedAt: sql`clock_timestamp()`,
    })
    .where(and(eq(projects.id, projectId), isNull(projects.deletedAt)))
    .returning({ id: projects.id });
  return raised.length > 0;
}

/** Puts the message on the training queue that arrives when the settle time is over: SQS's whole seconds, never early. */
export const announceRevision = (queues: Queues, projectId: string, settleSeconds: number): Promise<void> =>
  queues.sendTraining({ projectId }, settleSeconds);
