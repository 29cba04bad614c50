import { and, eq, inArray, isNull, type SQL, sql } from 'drizzle-orm';
import { type ChangeDeps, changeProject } from '#shared/change-project.ts';
import { projects, runs } from '#shared/schema.ts';

/** A message should have arrived by so many seconds ago: SQS may deliver late, and a worker may take its time. */
const lateSeconds = 30;
const mostProjects = 1000;

/**
 * Sends a training message for every project whose own was lost: due but not taken up, queued but not started, or running
 * under a lease that expired. The trainer decides in Postgres what to do, so one message too many does nothing.
 *
 * @returns how many projects got a message.
 */
export async function remindOverdue(deps: ChangeDeps): Promise<number> {
  const { db } = deps;
  const late = sql`clock_timestamp() - make_interval(secs => ${lateSeconds})`;
  const due = db
    .select({ projectId: projects.id })
    .from(projects)
    .where(and(isNull(projects.deletedAt), sql`${projects.trainDueAt} < ${late}`, notBusy(sql`'head'`)));
  const stuck = db
    .select({ projectId: runs.projectId })
    .from(runs)
    .innerJoin(projects, and(eq(projects.id, runs.projectId), isNull(projects.deletedAt)))
    .where(
      and(
        inArray(runs.state, ['queued', 'running']),
        sql`coalesce(${runs.leaseExpiresAt}, ${runs.createdAt}) < ${late}`,
        notBusy(sql`${runs.stage}`),
      ),
    );
  const found = await due.union(stuck).limit(mostProjects);
  for (const { projectId } of found) {
    await changeProject(deps, projectId, async ({ requestMessage }) => {
      requestMessage(0);
      return projectId;
    });
  }
  return found.length;
}

/** Behind a run of the same stage that is under way everything waits in order: its messages come again by themselves. */
const notBusy = (stage: SQL): SQL =>
  sql`not exists (select from runs as busy where busy.project_id = ${projects.id}
    and busy.stage = ${stage} and busy.state = 'running' and busy.lease_expires_at > clock_timestamp())`;
