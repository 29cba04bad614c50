import { and, desc, eq, inArray } from 'drizzle-orm';
import type { BackboneNames } from './backbones.ts';
import type { Queries } from './database.ts';
import { runs } from './schema.ts';

/** What a learner once chose for a project stays its choice, as long as it is offered; else the default. */
export async function chosenBackbone(queries: Queries, projectId: string, offered: BackboneNames): Promise<string> {
  const asked = and(eq(runs.projectId, projectId), eq(runs.automatic, false), eq(runs.stage, 'head'));
  const [last] = await queries
    .select({ backbone: runs.backbone })
    .from(runs)
    .where(and(asked, inArray(runs.backbone, [...offered])))
    .orderBy(desc(runs.createdAt))
    .limit(1);
  return last?.backbone ?? offered[0];
}
