import { and, eq, inArray, isNull, sql } from 'drizzle-orm';
import type { Database } from '#shared/database.ts';
import type { Queues } from '#shared/queues.ts';
import { projects, runs } from '#shared/schema.ts';

/** Later than this a message should have been there: SQS may deliver a while late, and a worker may take its time. */
const lateSeconds = 30;
const mostProjects = 1000;

/**
 * Sends a training message for every project whose own was lost: due but not taken up, queued but not started, or running
 * under a lease that ran out. The trainer looks at Postgres and decides; one message too many does nothing.
 *
 * @returns how many were sent.
 */
export async function rouseOverdue(db: Database, queues: Queues): Promise<number> {
  const late = sql`clock_timestamp() - make_interval(secs => ${lateSeconds})`;
  // Behind a run that is under way everything waits in order: its worker's messages come again by themselves.
  const idle = sql`not exists (select 1 from runs as busy where busy.project_id = ${projects.id}
    and busy.state = 'running' and busy.lease_expires_at > clock_timestamp())`;
  const due = db
    .select({ projectId: projects.id, runId: sql<string | null>`null::uuid`.as('run_id') })
    .from(projects)
    .where(and(isNull(projects.deletedAt), sql`${projects.trainDueAt} < ${late}`, idle));
  const stuck = db
    .select({ projectId: runs.projectId, runId: sql<string | null>`${runs.id}`.as('run_id') })
    .from(runs)
    .innerJoin(projects, and(eq(projects.id, runs.projectId), isNull(projects.deletedAt)))
    .where(
      and(
        inArray(runs.state, ['queued', 'running']),
        sql`coalesce(${runs.leaseExpiresAt}, ${runs.createdAt}) < ${late}`,
        idle,
      ),
    );
  const found = await due.unionAll(stuck).limit(mostProjects);
  for (const { projectId, runId } of found) await queues.sendTraining({ projectId, ...(runId && { runId }) });
  return found.length;
}
