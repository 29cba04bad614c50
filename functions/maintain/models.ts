import { sql } from 'drizzle-orm';
import { checkpointName } from '#shared/artifacts.ts';
import type { Database } from '#shared/database.ts';

/** What Postgres answers when a row that is referred to would be deleted. */
const foreignKeyViolation = '23503';
const mostTries = 3;

/**
 * Deletes what attempts left behind that lost their lease, and models beyond the newest `most` of a project. The current one
 * stays, however old: when a model becomes current just now, its reference refuses the deletion, which is tried again.
 *
 * @returns how many were deleted.
 */
export async function pruneModels(db: Database, most: number): Promise<number> {
  for (let tries = 1; ; tries++) {
    try {
      return await deleteModels(db, most);
    } catch (error) {
      const { code } = ((error as Error).cause ?? error) as { code?: string };
      if (code !== foreignKeyViolation || tries === mostTries) throw error;
    }
  }
}

async function deleteModels(db: Database, most: number): Promise<number> {
  const deleted = await db.execute(sql`
    delete from models where id in (
      select models.id from models
      join runs on runs.id = models.run_id
      where models.published_at is null
        and not (runs.state = 'running' and runs.attempt = models.attempt)
        -- A checkpoint is for the attempts to come.
        and not (runs.state in ('queued', 'running')
          and exists (select from artifacts where model_id = models.id and name = ${checkpointName}))
        and models.created_at < clock_timestamp() - interval '1 minute'
      union all
      select id from (
        select models.id, projects.current_model_id,
          row_number() over (partition by models.project_id order by models.published_at desc) as rank
        from models join projects on projects.id = models.project_id
        where models.published_at is not null
      ) as ranked
      where rank > ${most} and id is distinct from current_model_id
    ) returning id`);
  return deleted.length;
}
