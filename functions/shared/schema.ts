/** The tables. Times are Postgres's own: its clock decides every lease and every due date. */
import { sql } from 'drizzle-orm';
import {
  type AnyPgColumn,
  bigint,
  boolean,
  customType,
  doublePrecision,
  index,
  integer,
  jsonb,
  pgEnum,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { type Detail, imageStates, type Report, runStates, type Stage } from './words.ts';

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' });
const time = (name: string) => timestamp(name, { withTimezone: true });
const now = sql`clock_timestamp()`;

export const imageState = pgEnum('image_state', imageStates);
export const runState = pgEnum('run_state', runStates);

/** A browser of a learner; only the hash of its cookie's token is kept. */
export const sessions = pgTable('sessions', {
  id: uuid('id').primaryKey().defaultRandom(),
  tokenHash: bytea('token_hash').notNull().unique(),
  createdAt: time('created_at').notNull().default(now),
});

export const projects = pgTable(
  'projects',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    name: text('name').notNull(),
    keyHash: bytea('key_hash').notNull().unique(),
    sessionId: uuid('session_id').references(() => sessions.id, { onDelete: 'set null' }),
    revision: integer('revision').notNull().default(0),
    // The next four are a Schedule (schedule.ts), which only change-project.ts writes.
    trainDueAt: time('train_due_at'),
    dirtySince: time('dirty_since'),
    messageAt: time('message_at'),
    slotsFreeAt: time('slots_free_at'),
    /** When a worker last took a run of the project: learners take turns (trainer/turns.ts). */
    servedAt: time('served_at'),
    /** The reference keeps the current model from being pruned. */
    currentModelId: uuid('current_model_id').references((): AnyPgColumn => models.id),
    createdAt: time('created_at').notNull().default(now),
    usedAt: time('used_at').notNull().default(now),
    /** Set at once when a learner deletes the project; maintain erases what it kept, the row last. */
    deletedAt: time('deleted_at'),
  },
  (table) => [
    index('projects_session').on(table.sessionId),
    index('projects_current_model').on(table.currentModelId),
    index('projects_due').on(table.trainDueAt).where(sql`${table.trainDueAt} is not null`),
  ],
);

export const classes = pgTable(
  'classes',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id, { onDelete: 'cascade' }),
    name: text('name').notNull(),
    /** Order on the page and in a model. */
    position: integer('position').notNull(),
  },
  (table) => [uniqueIndex('classes_name').on(table.projectId, table.name)],
);

export const images = pgTable(
  'images',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id, { onDelete: 'cascade' }),
    /** Where the image is now. */
    classId: uuid('class_id')
      .notNull()
      .references(() => classes.id, { onDelete: 'cascade' }),
    /** Where it was uploaded to, which its key keeps; that class may be gone. */
    uploadClassId: uuid('upload_class_id').notNull(),
    name: text('name').notNull(),
    type: text('type').notNull(),
    bytes: integer('bytes').notNull(),
    /** Frames that were taken in one go have the same: they stay on one side of a split. */
    burst: text('burst'),
    state: imageState('state').notNull().default('pending'),
    reason: jsonb('reason').$type<Detail>(),
    /** Of the first object that was ingested under the key; a later one is never taken. */
    etag: text('etag'),
    sequencer: text('sequencer'),
    width: integer('width'),
    height: integer('height'),
    /** When its last upload link was given, or its object's event was sent again; an upload that never came lapses some time after. */
    linkedAt: time('linked_at').notNull().default(now),
    createdAt: time('created_at').notNull().default(now),
  },
  (table) => [
    index('images_project').on(table.projectId, table.createdAt, table.id),
    index('images_class').on(table.classId, table.state),
    index('images_pending').on(table.linkedAt).where(sql`${table.state} = 'pending'`),
    index('images_project_pending').on(table.projectId).where(sql`${table.state} = 'pending'`),
  ],
);

export const embeddings = pgTable(
  'embeddings',
  {
    imageId: uuid('image_id')
      .notNull()
      .references(() => images.id, { onDelete: 'cascade' }),
    /** The backbone with the version of its embeddings; see {@link embeddingSpace}. */
    space: text('backbone').notNull(),
    /** float32, little endian. */
    vector: bytea('vector').notNull(),
    /** Of a worker, for this picture: decoded, made a thumbnail of, embedded. */
    seconds: doublePrecision('seconds').notNull().default(0),
  },
  (table) => [primaryKey({ columns: [table.imageId, table.space] })],
);

export const runs = pgTable(
  'runs',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id, { onDelete: 'cascade' }),
    /** That it trains; a queued run takes the newest when it starts. */
    revision: integer('revision').notNull(),
    /** The system made it after a change: one for each revision and stage. Otherwise a learner asked for it. */
    automatic: boolean('automatic').notNull(),
    stage: text('stage').$type<Stage>().notNull(),
    backbone: text('backbone').notNull(),
    state: runState('state').notNull(),
    percent: doublePrecision('percent').notNull().default(0),
    secondsLeft: doublePrecision('seconds_left'),
    /** The lease's fence: raised by each worker that takes the run, carried by its every write. */
    attempt: integer('attempt').notNull().default(0),
    leaseExpiresAt: time('lease_expires_at'),
    /** Real failures, after some of which the run is `failed` (trainer/lease.ts). A worker that was killed does not count. */
    failures: integer('failures').notNull().default(0),
    error: jsonb('error').$type<Detail>(),
    report: jsonb('report').$type<Report>(),
    createdAt: time('created_at').notNull().default(now),
    startedAt: time('started_at'),
    finishedAt: time('finished_at'),
  },
  (table) => [
    index('runs_project').on(table.projectId, table.createdAt),
    uniqueIndex('runs_automatic').on(table.projectId, table.revision, table.stage).where(sql`${table.automatic}`),
    index('runs_queued').on(table.projectId).where(sql`${table.state} = 'queued'`),
    // The database itself allows one lease for each project and stage.
    uniqueIndex('runs_running').on(table.projectId, table.stage).where(sql`${table.state} = 'running'`),
  ],
);

export const models = pgTable(
  'models',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id, { onDelete: 'cascade' }),
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id, { onDelete: 'cascade' }),
    /** Of the run, when this was written: what an attempt left behind that lost its lease is told by it. */
    attempt: integer('attempt').notNull(),
    revision: integer('revision').notNull(),
    stage: text('stage').$type<Stage>().notNull(),
    backbone: text('backbone').notNull(),
    classes: jsonb('classes').$type<string[]>().notNull(),
    accuracy: doublePrecision('accuracy').notNull(),
    createdAt: time('created_at').notNull().default(now),
    /** Null until every artifact is there: nobody sees the model before. */
    publishedAt: time('published_at'),
  },
  (table) => [
    index('models_project').on(table.projectId, table.createdAt),
    uniqueIndex('models_published').on(table.runId, table.stage).where(sql`${table.publishedAt} is not null`),
  ],
);

export const artifacts = pgTable(
  'artifacts',
  {
    modelId: uuid('model_id')
      .notNull()
      .references(() => models.id, { onDelete: 'cascade' }),
    name: text('name').notNull(),
    type: text('type').notNull(),
    bytes: bigint('bytes', { mode: 'number' }).notNull(),
    sha256: text('sha256').notNull(),
  },
  (table) => [primaryKey({ columns: [table.modelId, table.name] })],
);

/** An artifact's bytes, in rows of 64 KiB (see artifacts.ts). */
export const chunks = pgTable(
  'chunks',
  {
    modelId: uuid('model_id')
      .notNull()
      .references(() => models.id, { onDelete: 'cascade' }),
    name: text('name').notNull(),
    index: integer('index').notNull(),
    /** SHA-256 of `data`: a chunk that does not match is not served, whichever range was asked for. */
    digest: bytea('digest').notNull(),
    data: bytea('data').notNull(),
  },
  (table) => [primaryKey({ columns: [table.modelId, table.name, table.index] })],
);

/** How often an address did something in the time that began at `startedAt`. */
export const rateLimits = pgTable(
  'rate_limits',
  {
    name: text('name').notNull(),
    address: text('address').notNull(),
    count: integer('count').notNull(),
    startedAt: time('started_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.name, table.address] })],
);
