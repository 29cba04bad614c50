/**
 * Where a fine-tuning was, for the worker that goes on with it: an artifact of a model that is never published. The attempt
 * says which is newest, so that a worker that was paused and wakes up changes nothing.
 */
import { createWriteStream, existsSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { and, desc, eq, isNull } from 'drizzle-orm';
import { checkpointName, readArtifact, writeArtifact } from '#shared/artifacts.ts';
import type { Postgres } from '#shared/database.ts';
import { artifacts, models, runs } from '#shared/schema.ts';
import { isMine, type Lease, LeaseLost } from './lease.ts';

/** Keeps the file at `path`, if it is there, in place of what an earlier attempt kept. @throws LeaseLost */
export async function storeCheckpoint(postgres: Postgres, lease: Lease, path: string): Promise<boolean> {
  if (!existsSync(path)) return false;
  const { runId, projectId, attempt, revision, stage, backbone } = lease;
  const { db } = postgres;
  const modelId = await db.transaction(async (transaction) => {
    const [mine] = await transaction.select({ id: runs.id }).from(runs).where(isMine(lease)).for('update');
    if (!mine) throw new LeaseLost(lease);
    const values = { projectId, runId, attempt, revision, stage, backbone, accuracy: 0, classes: [] };
    const [made] = await transaction.insert(models).values(values).returning({ id: models.id });
    return made!.id;
  });
  await writeArtifact(postgres, modelId, { name: checkpointName, type: 'application/octet-stream', path });
  return true;
}

/** Writes the newest checkpoint of the run to `path`. @returns whether there was one. */
export async function restoreCheckpoint({ db }: Postgres, { runId }: Lease, path: string): Promise<boolean> {
  const [newest] = await db
    .select()
    .from(artifacts)
    .innerJoin(models, eq(models.id, artifacts.modelId))
    .where(and(eq(models.runId, runId), isNull(models.publishedAt), eq(artifacts.name, checkpointName)))
    .orderBy(desc(models.attempt))
    .limit(1);
  if (!newest) return false;
  const { modelId, ...artifact } = newest.artifacts;
  await pipeline(Readable.from(readArtifact(db, modelId, artifact)), createWriteStream(path));
  return true;
}
