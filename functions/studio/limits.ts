/** What one project, one learner and one address may ask of the trainer and of the studio. */
import { eq } from 'drizzle-orm';
import type { Context } from 'hono';
import { count, countAddress } from '#shared/limits.ts';
import { projects } from '#shared/schema.ts';
import type { Studio } from './api.ts';

const hour = 3600;

/** @throws Problem 429 once too many projects came from an address. */
export const countProject = (studio: Studio, context: Context): Promise<void> =>
  countAddress(studio, context, { name: 'new-projects', most: studio.settings.PROJECTS_PER_HOUR, seconds: hour });

/**
 * Counts a training that a learner asks for: of the learner's browser (of the project, where a program made it), and of the
 * address, behind which a whole school may be.
 *
 * @throws Problem 429 once there were too many.
 */
export async function countTraining(studio: Studio, context: Context, projectId: string): Promise<void> {
  const { db, settings } = studio;
  const [project] = await db.select({ sessionId: projects.sessionId }).from(projects).where(eq(projects.id, projectId));
  const limit = { seconds: hour, code: 'too-many-trainings' };
  const most = settings.RUNS_PER_HOUR;
  await count(db, project?.sessionId ?? projectId, { ...limit, name: 'trainings-of-learner', most });
  await countAddress(studio, context, { ...limit, name: 'trainings-of-address', most: most * learnersOfAddress });
}

/** A class of learners with a browser each, and some to spare. */
const learnersOfAddress = 40;
