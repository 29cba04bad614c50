/** The one way to change a project, on a real Postgres. */
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { changeProject } from '#shared/change-project.ts';
import { classes, images, models, projects } from '#shared/schema.ts';
import { pruneModels } from '../../../functions/maintain/models.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';
import { insertImage, insertModel, insertProject } from '../../support/rows.ts';
import { createTraining } from '../../support/training.ts';

let postgres: TestDatabase;
let training: ReturnType<typeof createTraining>;
let project: Awaited<ReturnType<typeof insertProject>>;
beforeAll(async () => {
  postgres = await createTestDatabase({ connections: 8 });
});
beforeEach(async () => {
  training = createTraining(postgres);
  project = await insertProject(postgres.db);
});
afterAll(() => postgres?.close());

const projectOf = () => training.projectOf(project.id);

test('a change raises the revision once, whatever it says how often, and sends one message', async () => {
  const result = await changeProject(training.deps, project.id, async ({ raiseRevision, project: locked }) => {
    raiseRevision();
    raiseRevision();
    return locked.revision;
  });
  expect(result).toBe(0);
  expect(await projectOf()).toMatchObject({ revision: 1, trainDueAt: expect.any(Date), dirtySince: expect.any(Date) });
  expect(training.sent).toEqual([{ projectId: project.id, delaySeconds: 0 }]);
});

test('a change that raises nothing leaves the schedule alone and sends nothing', async () => {
  await changeProject(training.deps, project.id, async ({ transaction, settle, requestMessage }) => {
    settle();
    requestMessage();
    return await transaction.select({ id: classes.id }).from(classes);
  });
  expect(await projectOf()).toMatchObject({ revision: 0, trainDueAt: null, messageAt: null });
  expect(training.sent).toEqual([]);
});

test('what throws rolls everything back, and nothing is sent', async () => {
  const failing = changeProject(training.deps, project.id, async ({ transaction, raiseRevision, announceRun }) => {
    raiseRevision();
    announceRun(crypto.randomUUID());
    await transaction.delete(classes).where(eq(classes.projectId, project.id));
    throw new Error('refused');
  });
  await expect(failing).rejects.toThrow('refused');
  expect(await projectOf()).toMatchObject({ revision: 0, trainDueAt: null });
  expect(await postgres.db.$count(classes, eq(classes.projectId, project.id))).toBe(2);
  expect(training.sent).toEqual([]);
});

test('a project that is deleted, or was never there, is not changed', async () => {
  await postgres.db.update(projects).set({ deletedAt: new Date() }).where(eq(projects.id, project.id));
  for (const id of [project.id, crypto.randomUUID()]) {
    expect(await changeProject(training.deps, id, () => Promise.reject(new Error('called')))).toBeNull();
  }
});

test('changes of one project go one after the other: a hundred at once raise a hundred revisions and send one message', async () => {
  await Promise.all(Array.from({ length: 100 }, () => training.raise(project.id)));
  expect((await projectOf()).revision).toBe(100);
  // The first made the project due, and the worker that takes it takes up all of them.
  expect(training.sent).toEqual([{ projectId: project.id, delaySeconds: 0 }]);
});

test('the settle time is waited for while an upload of this project is pending', async () => {
  const other = await insertProject(postgres.db);
  const pending = await insertImage(postgres.db, { projectId: project.id, classId: project.classIds[0]! });
  await training.raise(other.id);
  const waiting = async () => Number((await projectOf()).trainDueAt) - Date.now();
  await training.raise(project.id);
  expect(await waiting()).toBeGreaterThan(2000);
  await changeProject(training.deps, project.id, async ({ transaction, settle }) => {
    settle();
    return await transaction.update(images).set({ state: 'rejected' }).where(eq(images.id, pending.id));
  });
  expect(await waiting()).toBeLessThan(100);
});

test('a message that could not be sent is an error, and the change stands', async () => {
  const deps = { ...training.deps, queues: { sendTraining: () => Promise.reject(new Error('no queue')) } };
  const changed = changeProject(deps, project.id, async ({ raiseRevision }) => {
    raiseRevision();
    return project.id;
  });
  await expect(changed).rejects.toThrow('no queue');
  expect(await projectOf()).toMatchObject({ revision: 1, trainDueAt: expect.any(Date) });
});

test('35: a model that becomes current while old ones are pruned stays', async () => {
  const rounds = 100;
  let missing = 0;
  for (let round = 0; round < rounds; round++) {
    const { id } = await insertProject(postgres.db);
    const old = await insertModel(postgres, id, {}, { createdAgo: 100 });
    await insertModel(postgres, id, {}, { createdAgo: 50 });
    const restore = changeProject(training.deps, id, async ({ transaction }) => {
      const found = await transaction
        .select({ id: models.id })
        .from(models)
        .where(eq(models.id, old.id))
        .for('key share');
      if (found.length > 0) {
        await transaction.update(projects).set({ currentModelId: old.id }).where(eq(projects.id, id));
      }
      return found;
    });
    const [restored] = await Promise.all([restore, pruneModels(postgres.db, 1)]);
    const kept = await postgres.db.$count(models, eq(models.id, old.id));
    if ((restored?.length ?? 0) > 0 && kept === 0) missing++;
    await postgres.db.update(projects).set({ currentModelId: null }).where(eq(projects.id, id));
  }
  expect(missing).toBe(0);
});
