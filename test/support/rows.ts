/** Projects, images and models as other programs would have left them in Postgres. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SQL, sql } from 'drizzle-orm';
import { createKey } from '#shared/access.ts';
import { type StoredArtifact, writeArtifact } from '#shared/artifacts.ts';
import type { Database, Postgres } from '#shared/database.ts';
import { type UploadKey, uploadKey } from '#shared/keys.ts';
import { classes, images, models, projects, runs } from '#shared/schema.ts';
import type { ImageState, RunState } from '#shared/words.ts';

/** Postgres's clock so many seconds ago. */
export const ago = (seconds: number) => sql<Date>`clock_timestamp() - make_interval(secs => ${seconds})`;

export async function insertProject(db: Database, name = 'cats and dogs', classNames = ['cat', 'dog']) {
  const { key, hash } = createKey();
  const [project] = await db.insert(projects).values({ name, keyHash: hash }).returning({ id: projects.id });
  const values = classNames.map((className, position) => ({ projectId: project!.id, name: className, position }));
  const made = await db.insert(classes).values(values).returning({ id: classes.id });
  return { id: project!.id, key, classIds: made.map(({ id }) => id) };
}

export async function insertImage(
  db: Database,
  {
    projectId,
    classId,
    state = 'pending' as ImageState,
    linkedAgo = 0,
  }: Omit<UploadKey, 'imageId'> & { state?: ImageState; linkedAgo?: number },
) {
  const imageId = randomUUID();
  const place = { projectId, classId, uploadClassId: classId };
  await db
    .insert(images)
    .values({ id: imageId, ...place, name: 'a.jpg', type: 'image/jpeg', bytes: 3, state, linkedAt: ago(linkedAgo) });
  return { id: imageId, key: uploadKey({ projectId, classId, imageId }) };
}

type RunInsert = typeof runs.$inferInsert;
type RunValues = { [Column in keyof RunInsert]?: RunInsert[Column] | SQL };

export async function insertRun(db: Database, projectId: string, state: RunState, values: RunValues = {}) {
  const needed = {
    projectId,
    state,
    revision: 1,
    automatic: false,
    stage: 'head' as const,
    backbone: 'efficientnet-lite0',
  };
  const [run] = await db
    .insert(runs)
    .values({ ...needed, attempt: 1, ...values })
    .returning({ id: runs.id });
  return run!.id;
}

/** A model with these files, published unless told otherwise, of a run of its own that succeeded unless one is given. */
export async function insertModel(
  postgres: Postgres,
  projectId: string,
  files: Record<string, Uint8Array>,
  {
    classNames = ['cat', 'dog'],
    published = true,
    createdAgo = 0,
    runId,
  }: { classNames?: string[]; published?: boolean; createdAgo?: number; runId?: string } = {},
): Promise<{ id: string; artifacts: StoredArtifact[] }> {
  const { db } = postgres;
  const [model] = await db
    .insert(models)
    .values({
      projectId,
      runId: runId ?? (await insertRun(db, projectId, 'succeeded')),
      attempt: 1,
      revision: 1,
      stage: 'head',
      backbone: 'efficientnet-lite0',
      classes: classNames,
      accuracy: 1,
      createdAt: ago(createdAgo),
      publishedAt: published ? ago(createdAgo) : null,
    })
    .returning({ id: models.id });
  const folder = await mkdtemp(join(tmpdir(), 'ai-teacher-model-'));
  const artifacts: StoredArtifact[] = [];
  for (const [name, data] of Object.entries(files)) {
    const path = join(folder, name);
    await writeFile(path, data);
    artifacts.push(await writeArtifact(postgres, model!.id, { name, type: 'application/octet-stream', path }));
  }
  await rm(folder, { recursive: true });
  return { id: model!.id, artifacts };
}
