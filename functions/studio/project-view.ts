/** Projects, runs and models as the API gives them. Asked for each second while something is under way: few, small queries. */
import { and, asc, desc, eq, getTableColumns, inArray, isNotNull, isNull, type SQLWrapper, sql } from 'drizzle-orm';
import { signPath } from '#shared/access.ts';
import type { Database } from '#shared/database.ts';
import { artifacts, classes, images, models, projects, runs } from '#shared/schema.ts';
import type { ImageState, Model, Project, Run, RunState } from '#shared/words.ts';
import { notThere, type Studio } from './api.ts';
import { statusOf } from './status.ts';

/** @throws Problem 404 */
export async function readProject(studio: Studio, projectId: string): Promise<Project> {
  const [found] = await readSome(studio, [projectId]);
  if (!found) throw notThere('project');
  return found;
}

/** Those of a session, newest first. */
export async function readProjects(studio: Studio, sessionId: string): Promise<Project[]> {
  const own = await studio.db
    .select({ id: projects.id })
    .from(projects)
    .where(and(eq(projects.sessionId, sessionId), isNull(projects.deletedAt)))
    .orderBy(desc(projects.createdAt))
    .limit(200);
  return await readSome(
    studio,
    own.map(({ id }) => id),
  );
}

const file = getTableColumns(artifacts);
const day = 24 * 3600 * 1000;

async function readSome(studio: Studio, ids: string[]): Promise<Project[]> {
  if (ids.length === 0) return [];
  const [found, counted, files] = await Promise.all([
    findProjects(studio.db, ids),
    countImages(studio.db, ids),
    findFiles(studio.db, ids),
  ]);
  return ids.flatMap((id) => {
    const row = found.find(({ project }) => project.id === id);
    if (!row) return [];
    const { name, revision, trainDueAt, usedAt } = row.project;
    const own = counted
      .filter(({ projectId }) => projectId === id)
      .map(({ projectId: _, id: classId, name: called, ...images }) => ({ id: classId, name: called, images }));
    const { run, running, queued, model } = row;
    const status = statusOf({ revision, due: trainDueAt !== null, classes: own, run, running, queued, model });
    const views = { run: run && viewRun(run), model: model && viewModel(studio, row.project.keyHash, model, files) };
    const expiresAt = new Date(usedAt.getTime() + studio.settings.PROJECT_DAYS * day).toISOString();
    return [{ id, name, revision, ...status, classes: own, ...views, expiresAt }];
  });
}

/** The projects that are not deleted, each with its newest run and its current model. */
function findProjects(db: Database, ids: string[]) {
  const newest = db
    .select()
    .from(runs)
    .where(eq(runs.projectId, projects.id))
    .orderBy(desc(runs.createdAt))
    .limit(1)
    .as('newest');
  return db
    .select({
      project: projects,
      run: newest._.selectedFields,
      model: models,
      running: anyRun('running'),
      queued: anyRun('queued'),
    })
    .from(projects)
    .leftJoinLateral(newest, sql`true`)
    .leftJoin(models, and(eq(models.id, projects.currentModelId), isNotNull(models.publishedAt)))
    .where(and(inArray(projects.id, ids), isNull(projects.deletedAt)));
}

/** The classes of the projects in their order, each with the number of its images in each state. */
function countImages(db: Database, ids: string[]) {
  // Counting before the join takes half the time where there are 20,000 images.
  const inState = (state: ImageState) =>
    sql<number>`(count(*) filter (where ${images.state} = ${state}))::int`.as(state);
  const counts = db
    .select({
      classId: images.classId,
      ready: inState('ready'),
      pending: inState('pending'),
      rejected: inState('rejected'),
    })
    .from(images)
    .where(inArray(images.projectId, ids))
    .groupBy(images.classId)
    .as('counts');
  const orNone = (column: SQLWrapper) => sql<number>`coalesce(${column}, 0)`;
  return db
    .select({
      id: classes.id,
      projectId: classes.projectId,
      name: classes.name,
      ready: orNone(counts.ready),
      pending: orNone(counts.pending),
      rejected: orNone(counts.rejected),
    })
    .from(classes)
    .leftJoin(counts, eq(counts.classId, classes.id))
    .where(inArray(classes.projectId, ids))
    .orderBy(asc(classes.position), asc(classes.id));
}

/** The artifacts of the projects' current models. */
const findFiles = (db: Database, ids: string[]) =>
  db
    .select(file)
    .from(artifacts)
    .innerJoin(projects, eq(projects.currentModelId, artifacts.modelId))
    .where(inArray(projects.id, ids))
    .orderBy(asc(artifacts.name));

const anyRun = (state: RunState) =>
  sql<boolean>`exists (select from ${runs} where ${runs.projectId} = ${projects.id} and ${runs.state} = ${state} and ${runs.stage} = 'head')`;

export const viewRun = (run: typeof runs.$inferSelect): Run => ({
  id: run.id,
  revision: run.revision,
  stage: run.stage,
  state: run.state,
  progress: { percent: run.percent, secondsLeft: run.secondsLeft },
  error: run.error,
  report: run.report,
});

/** The published models of a project, newest first. */
export async function readModels(studio: Studio, projectId: string): Promise<Model[]> {
  const published = and(eq(models.projectId, projectId), isNotNull(models.publishedAt));
  const [found, files] = await Promise.all([
    studio.db
      .select({ model: models, keyHash: projects.keyHash })
      .from(models)
      .innerJoin(projects, eq(projects.id, models.projectId))
      .where(published)
      .orderBy(desc(models.publishedAt)),
    studio.db
      .select(file)
      .from(artifacts)
      .innerJoin(models, eq(models.id, artifacts.modelId))
      .where(published)
      .orderBy(asc(artifacts.name)),
  ]);
  return found.map(({ model, keyHash }) => viewModel(studio, keyHash, model, files));
}

/** With links that work as they are. */
function viewModel(
  { settings: { SIGNING_SECRET: secret, LINK_SECONDS, EXPORT_URL, PREDICT_URL } }: Studio,
  keyHash: Uint8Array,
  { id, projectId, runId, revision, stage, classes: names, accuracy, createdAt }: typeof models.$inferSelect,
  files: (typeof artifacts.$inferSelect)[],
): Model {
  const link = (base: string, path: string) => base + signPath({ secret, keyHash }, path, LINK_SECONDS);
  return {
    id,
    projectId,
    runId,
    revision,
    stage,
    classes: names,
    accuracy,
    createdAt: createdAt.toISOString(),
    predictUrl: link(PREDICT_URL, `/models/${id}/predict`),
    artifacts: files
      .filter(({ modelId }) => modelId === id)
      .map(({ modelId: _, ...one }) => ({ ...one, url: link(EXPORT_URL, `/models/${id}/${one.name}`) })),
  };
}
