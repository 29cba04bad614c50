/**
 * The words of AI Teacher, one for each thing; every program and the page use these and no others.
 *
 * - **learner**: the person at a browser; an anonymous session.
 * - **project**: one classifier in the making: a name, classes, images.
 * - **class**: a label with its images.
 * - **image**: one uploaded picture, `pending` until its upload event came, then `ready` or `rejected`.
 * - **revision**: a number that goes up with each change of a project's set of ready images or classes.
 * - **run**: one attempt to make a model from one revision.
 * - **stage**: what a run does: `head` fits a classifier on frozen embeddings, `fine-tune` trains the network itself.
 * - **model**: the result of a run: immutable, with artifacts and a report.
 * - **artifact**: one file of a model, kept in Postgres.
 * - **backbone**, **embedding**, **head**: the pretrained network, its feature vector of one image, the trained classifier on top.
 * - **lease**: the right of one worker to a run, with an attempt number that every write carries.
 */

import stageFacts from './stages.json' with { type: 'json' };
import thresholds from './thresholds.json' with { type: 'json' };

export const imageStates = ['pending', 'ready', 'rejected'] as const;
export type ImageState = (typeof imageStates)[number];

export const runStates = ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'superseded'] as const;
export type RunState = (typeof runStates)[number];

/** What a run can be asked to do. */
export type Stage = keyof typeof stageFacts;
export const stages = Object.keys(stageFacts) as [Stage, ...Stage[]];

export const projectStatuses = ['collecting', 'training', 'waiting', 'failed', 'ready'] as const;
export type ProjectStatus = (typeof projectStatuses)[number];

/** A backbone that a learner can choose. */
export interface Backbone {
  name: string;
  /** Of a sentence that the page has for it, where it has one. */
  words: string | null;
  /** Of its weights, and about of each model's files; null where only the trainer knows. */
  megabytes: number | null;
  /** SPDX name of its weights' licence; null where only the trainer knows. */
  license: string | null;
}

/** Something a learner reads: the page says `code` with `params` in its own language, other programs show `message`. */
export interface Detail {
  code: string;
  params: Record<string, string | number | string[]>;
  message: string;
}

export interface ImageCounts {
  ready: number;
  pending: number;
  rejected: number;
}

export interface ProjectClass {
  id: string;
  name: string;
  images: ImageCounts;
}

export interface Run {
  id: string;
  revision: number;
  stage: Stage;
  state: RunState;
  progress: { percent: number; secondsLeft: number | null };
  error: Detail | null;
  report: Report | null;
}

export interface Artifact {
  name: string;
  type: string;
  bytes: number;
  sha256: string;
  url: string;
}

export interface Model {
  id: string;
  projectId: string;
  runId: string;
  revision: number;
  stage: Stage;
  /** Names in the order of the probabilities. */
  classes: string[];
  /** Held-out accuracy from 0 to 1. */
  accuracy: number;
  createdAt: string;
  predictUrl: string;
  artifacts: Artifact[];
}

export interface Project {
  id: string;
  name: string;
  revision: number;
  status: ProjectStatus;
  statusDetail: Detail | null;
  classes: ProjectClass[];
  run: Run | null;
  model: Model | null;
  /** When it is erased unless somebody uses it before. */
  expiresAt: string;
}

export interface Image {
  id: string;
  classId: string;
  name: string;
  state: ImageState;
  reason: Detail | null;
  thumbnailUrl: string | null;
}

/** `report.json` of a model, as far as the page reads it; trainer/python/report.py describes all of it. */
export interface Report {
  format: 1;
  backbone?: string;
  classes: { name: string; images: number; accuracy: number | null; background?: number | null }[];
  /** What speaks for its class in some images, from 0 to 99, rows from the top. */
  heatmaps?: { image: string; class: string; cells: number[][] }[];
  /** Held-out: `low` to `high` is the 95 % interval. */
  accuracy: { value: number; low: number; high: number; method: string; folds: number; images: number };
  /** Rows: what an image is; columns: what the model said of it, held-out counts. */
  confusion: number[][];
  /** What would help most; trainer/python/report.py lists the codes. */
  next?: { code: string; params: Detail['params'] };
  /** Of each part of the run. */
  seconds?: Record<string, number>;
  /** Of a fine-tuning: whether it was better than the head, and so became a model. */
  fineTune?: { better: boolean };
  [more: string]: unknown;
}

/** The least that a model can be made of: so many classes with so many ready images each. */
export const { leastClasses, leastImages } = thresholds;
