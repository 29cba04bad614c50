/** Projects that are due to train, and runs of them, on a real Postgres; messages are collected instead of sent. */
import { eq, sql } from 'drizzle-orm';
import { type ChangeDeps, changeProject } from '#shared/change-project.ts';
import { projects, runs } from '#shared/schema.ts';
import type { Stage } from '#shared/words.ts';
import type { Dataset } from '../../trainer/dataset.ts';
import type { Lease } from '../../trainer/lease.ts';
import { publishModel, type Trained } from '../../trainer/publish.ts';
import { stopwatch } from '../../trainer/stopwatch.ts';
import { takeRun } from '../../trainer/take-run.ts';
import type { TestDatabase } from './postgres.ts';
import { ago, insertImage, insertProject } from './rows.ts';

export interface SentMessage {
  projectId: string;
  runId?: string | undefined;
  delaySeconds: number;
}

export const trainSettings = {
  BACKBONES: ['efficientnet-lite0', 'efficientnet-lite2'] as const,
  LEASE_SECONDS: 20,
  DIRTY_SECONDS: 60,
  SETTLE_SECONDS: 3,
};

export function createTraining(postgres: TestDatabase) {
  const { db } = postgres;
  const sent: SentMessage[] = [];
  const deps = {
    db,
    postgres,
    settings: trainSettings,
    queues: {
      sendTraining: async (message, delaySeconds = 0) => {
        sent.push({ ...message, delaySeconds });
      },
    },
    follow: (async () => {}) as Parameters<typeof publishModel>[0]['follow'],
  } satisfies ChangeDeps & Record<string, unknown>;

  const raise = (projectId: string) =>
    changeProject(deps, projectId, async ({ raiseRevision }) => {
      raiseRevision();
      return projectId;
    });
  /** Makes a project that was raised due in so many seconds. */
  const dueIn = (projectId: string, seconds: number) =>
    db
      .update(projects)
      .set({ trainDueAt: ago(-seconds) })
      .where(eq(projects.id, projectId));

  return {
    deps,
    sent,
    raise,
    dueIn,
    /** Makes a project with two classes of two ready images each. */
    insertTrainable: async ({ due = true } = {}) => {
      const { id: projectId, classIds } = await insertProject(db);
      for (const classId of [...classIds, ...classIds]) await insertImage(db, { projectId, classId, state: 'ready' });
      if (due) await raise(projectId);
      return { projectId, classIds };
    },
    take: (projectId: string) => takeRun(deps, projectId),
    /** @throws Error when there is nothing to take. */
    taken: async (projectId: string): Promise<Lease> => {
      const result = await takeRun(deps, projectId);
      if (result.kind !== 'taken') throw new Error(`Expected a lease, got ${result.kind}.`);
      return result.lease;
    },
    publish: (lease: Lease, dataset: Dataset, trained: Trained, folder: string, follow = deps.follow) =>
      publishModel({ ...deps, follow }, { lease, dataset, trained, folder, clock: stopwatch({}) }),
    runOf: async (runId: string) => (await db.select().from(runs).where(eq(runs.id, runId)))[0]!,
    projectOf: async (projectId: string) => (await db.select().from(projects).where(eq(projects.id, projectId)))[0]!,
    runsOf: (projectId: string, stage: Stage = 'head') =>
      db.select().from(runs).where(sql`${runs.projectId} = ${projectId} and ${runs.stage} = ${stage}`),
    expireLease: (runId: string) =>
      db
        .update(runs)
        .set({ leaseExpiresAt: ago(1) })
        .where(eq(runs.id, runId)),
  };
}
