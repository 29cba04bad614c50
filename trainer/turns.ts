/**
 * Fair scheduling: a training message for any project runs the due project of the learner who was served longest ago. A learner
 * is a browser's session, or a project without one.
 */
import { sql } from 'drizzle-orm';
import type { Database } from '#shared/database.ts';

/** A learner who was not served for so long has a turn, however many others were never served. */
const longestWaitSeconds = 30;
/** Seconds after a head's training before which a fine-tuning takes no other project's turn. */
const quietBeforeTuning = 20;
/** A learner of whom so many projects were served within the longest wait waits for others a little before they are due... */
const manyProjects = 3;
/**
 * ...so long: a project whose pictures are on their way is due three seconds after the latest one, or at any moment if that was
 * the last one. A run that is begun is not broken off.
 */
const reservedSeconds = 3;
/** Nothing is reserved for a project that has not settled after this: it would be for ever. */
const longestReserved = 10;

/**
 * The project that goes before `projectId`: its learner was served longer ago, no worker is at it, and it can train now, or in
 * `seconds`. Its own message finds nothing later, or was lost, which then did no harm.
 */
export async function findBefore(db: Database, projectId: string): Promise<{ id: string; seconds: number } | null> {
  // statement_timestamp() is Postgres's clock too, and lets an index be used.
  const ago = (seconds: number) => sql`statement_timestamp() - make_interval(secs => ${seconds})`;
  const [found] = await db.execute<{ id: string; seconds: number }>(sql`
    with own as materialized (
      select coalesce(mine.session_id, mine.id) as learner, max(each.served_at) as served_at,
        count(*) filter (where each.served_at > ${ago(longestWaitSeconds)}) >= ${manyProjects} as many
      from projects mine join projects each on each.id = mine.id or each.session_id = mine.session_id
      where mine.id = ${projectId} group by mine.id
    ), waiting as (
      select id, train_due_at as since from projects
      where train_due_at <= ${ago(-reservedSeconds)} and deleted_at is null
        and (train_due_at <= statement_timestamp() or dirty_since > ${ago(longestReserved)})
      union all
      select projects.id, runs.created_at from runs join projects on projects.id = project_id
      where state = 'queued' and deleted_at is null and (stage <> 'fine-tune' or train_due_at is null and
        coalesce(projects.served_at <= ${ago(quietBeforeTuning)}, true))
    )
    select waiting.id, extract(epoch from greatest(waiting.since - statement_timestamp(), interval '0'))::float8 as seconds
    from own, waiting join projects on projects.id = waiting.id,
      lateral (select max(served_at) as served_at from projects each
        where each.id = projects.id or each.session_id = projects.session_id) others
    where own.served_at > ${ago(longestWaitSeconds)}
      and coalesce(projects.session_id, projects.id) <> own.learner
      and coalesce(others.served_at < own.served_at, true)
      and (own.many or waiting.since <= statement_timestamp())
      and not exists (select 1 from runs where project_id = waiting.id and state = 'running' and stage = 'head')
    order by seconds, others.served_at nulls first, waiting.since limit 1`);
  return found ?? null;
}
