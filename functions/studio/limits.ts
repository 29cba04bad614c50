/** What one project, one learner and one address may ask of the trainer and of the studio. */
import { eq } from 'drizzle-orm';
import type { Context } from 'hono';
import type { Code } from '#shared/codes.ts';
import { addressOf, count, countAddress } from '#shared/limits.ts';
import { projects } from '#shared/schema.ts';
import type { Studio } from './api.ts';

const hour = 3600;

/** @throws Problem 429 once too many projects came from an address. */
export const countProject = (studio: Studio, context: Context): Promise<void> =>
  countAddress(studio, context, { name: 'new-projects', most: studio.settings.PROJECTS_PER_HOUR, seconds: hour });

/**
 * Counts a training that a learner asks for.
 *
 * @throws Problem 429 once there were too many.
 */
export const countTraining = (studio: Studio, context: Context, projectId: string): Promise<void> =>
  countForLearner(studio, context, projectId, 'too-many-trainings', [
    { name: 'trainings', most: studio.settings.RUNS_PER_HOUR, by: 1 },
  ]);

/**
 * Counts pictures that a learner asks to upload, and their bytes.
 *
 * @throws Problem 429 once there were too many.
 */
export function countUploads(
  studio: Studio,
  context: Context,
  projectId: string,
  { images, bytes }: { images: number; bytes: number },
): Promise<void> {
  const { IMAGES_PER_HOUR, BYTES_PER_HOUR } = studio.settings;
  return countForLearner(studio, context, projectId, 'too-many-pictures', [
    { name: 'pictures', most: IMAGES_PER_HOUR, by: images },
    // A counter is an integer of Postgres's, which so many bytes are not.
    { name: 'kilobytes', most: BYTES_PER_HOUR / 1000, by: Math.ceil(bytes / 1000) },
  ]);
}

/**
 * Counts for the learner's browser (for the project, where a program made it), and for the address, behind which a whole school
 * may be.
 */
async function countForLearner(
  studio: Studio,
  context: Context,
  projectId: string,
  code: Code,
  what: { name: string; most: number; by: number }[],
): Promise<void> {
  const { db } = studio;
  const [project] = await db.select({ sessionId: projects.sessionId }).from(projects).where(eq(projects.id, projectId));
  const learner = project?.sessionId ?? projectId;
  const countAs = (whom: string, who: string, learners: number) => {
    const all = what.map(({ name, most, by }) => ({ name: `${name}-of-${whom}`, who, most: most * learners, by }));
    return count(db, { seconds: hour, code }, ...all);
  };
  await countAs('learner', learner, 1);
  // Who is refused by now takes nothing from the others behind the address.
  await countAs('address', addressOf(studio, context), learnersOfAddress);
}

/** A class of learners with a browser each, and some to spare. */
const learnersOfAddress = 40;
