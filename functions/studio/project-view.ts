/** Projects, runs and models as the API gives them. Asked for each second while something is under way: few, small queries. */
import { and, asc, desc, eq, inArray, isNotNull, isNull, sql } from 'drizzle-orm';
import { signPath } from '#shared/access.ts';
import { artifacts, classes, images, models, projects, runs } from '#shared/schema.ts';
import type { Model, Project, Run } from '#shared/words.ts';
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

async function readSome(studio: Studio, ids: string[]): Promise<Project[]> {
  if (ids.length === 0) return [];
  const { db } = studio;
  const state = (name: string) => sql<number>`(count(${images.id}) filter (where ${images.state} = ${name}))::int`;
  const [found, counted, newest, underWay] = await Promise.all([
    db
      .select()
      .from(projects)
      .where(and(inArray(projects.id, ids), isNull(projects.deletedAt))),
    db
      .select({
        id: classes.id,
        projectId: classes.projectId,
        name: classes.name,
        ready: state('ready'),
        pending: state('pending'),
        rejected: state('rejected'),
      })
      .from(classes)
      .leftJoin(images, eq(images.classId, classes.id))
      .where(inArray(classes.projectId, ids))
      .groupBy(classes.id)
      .orderBy(asc(classes.position), asc(classes.id)),
    db
      .selectDistinctOn([runs.projectId])
      .from(runs)
      .where(inArray(runs.projectId, ids))
      .orderBy(runs.projectId, desc(runs.createdAt)),
    db
      .select({ projectId: runs.projectId, state: runs.state })
      .from(runs)
      .where(and(inArray(runs.projectId, ids), inArray(runs.state, ['queued', 'running']))),
  ]);
  const current = await readModels(
    studio,
    found.flatMap(({ currentModelId }) => currentModelId ?? []),
  );
  return ids.flatMap((id) => {
    const project = found.find((one) => one.id === id);
    if (!project) return [];
    const { name, revision } = project;
    const own = counted
      .filter(({ projectId }) => projectId === id)
      .map(({ projectId: _, id: classId, name: called, ...counts }) => ({ id: classId, name: called, images: counts }));
    const run = newest.find(({ projectId }) => projectId === id) ?? null;
    const model = current.find(({ projectId }) => projectId === id) ?? null;
    const states = underWay.filter(({ projectId }) => projectId === id).map((one) => one.state);
    const status = statusOf({
      revision,
      due: project.trainDueAt !== null,
      classes: own,
      run,
      running: states.includes('running'),
      queued: states.includes('queued'),
      model,
    });
    return [{ id, name, revision, ...status, classes: own, run: run && viewRun(run), model }];
  });
}

export const viewRun = (run: typeof runs.$inferSelect): Run => ({
  id: run.id,
  revision: run.revision,
  stage: run.stage,
  state: run.state,
  progress: { percent: run.percent, secondsLeft: run.secondsLeft },
  error: run.error,
  report: run.report,
});

/** The published models among `ids`, newest first, with links that work as they are. */
export async function readModels({ db, settings }: Studio, ids: string[]): Promise<Model[]> {
  if (ids.length === 0) return [];
  const [found, files] = await Promise.all([
    db
      .select()
      .from(models)
      .where(and(inArray(models.id, ids), isNotNull(models.publishedAt)))
      .orderBy(desc(models.publishedAt)),
    db.select().from(artifacts).where(inArray(artifacts.modelId, ids)).orderBy(asc(artifacts.name)),
  ]);
  const { SIGNING_SECRET, LINK_SECONDS, EXPORT_URL, PREDICT_URL } = settings;
  const link = (base: string, path: string) => base + signPath(SIGNING_SECRET, path, LINK_SECONDS);
  return found.map(({ id, projectId, runId, revision, stage, classes: names, accuracy, createdAt }) => ({
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
      .map(({ modelId: _, ...file }) => ({ ...file, url: link(EXPORT_URL, `/models/${id}/${file.name}`) })),
  }));
}
