/** What each program of the functions' image needs and may do: its manifests, quotas, policies and permissions come from here. */
import type { Program } from '#shared/settings.ts';

/** What a program talks to. Nothing else is open to it. */
export type Peer = 'postgres' | 'aws' | 'kubernetes';

export interface Size {
  /** Thousandths of a core: asked for, and at most. */
  cpu: [number, number];
  /** MiB: asked for, and at most. */
  memory: [number, number];
}

interface Served extends Size {
  reaches: readonly Peer[];
  /** Requests at once in one pod; more of them make another pod. */
  concurrency: number;
  /** Longest time of an answer, seconds. */
  seconds: number;
}

/** Served by Knative, scaled to zero. */
export const functions = {
  studio: { reaches: ['postgres', 'aws'], cpu: [100, 1000], memory: [128, 384], concurrency: 80, seconds: 60 },
  // Downloads on slow school networks: as long as Knative allows. What is cut off resumes (Range, ETag).
  export: { reaches: ['postgres'], cpu: [100, 1000], memory: [128, 384], concurrency: 50, seconds: 600 },
  // A picture of 25 megapixels takes 500 MB while it is decoded; the program itself decodes few at once.
  predict: { reaches: ['postgres'], cpu: [250, 2000], memory: [384, 1536], concurrency: 16, seconds: 60 },
} as const satisfies Partial<Record<Program, Served>>;

export type FunctionName = keyof typeof functions;
export const functionNames = Object.keys(functions) as FunctionName[];

interface Task extends Size {
  reaches: readonly Peer[];
  /** Longest time of one attempt, seconds. */
  seconds: number;
}

/** Run once with each release that changes them. */
export const jobs = {
  provision: { reaches: ['aws'], cpu: [50, 500], memory: [96, 256], seconds: 600 },
  migrate: { reaches: ['postgres'], cpu: [50, 500], memory: [96, 256], seconds: 600 },
} as const satisfies Partial<Record<Program, Task>>;

/** Run again and again. */
export const cronJobs = {
  maintain: {
    reaches: ['postgres', 'aws'],
    cpu: [50, 500],
    memory: [128, 512],
    // The next one is due after five minutes, and one at a time is enough.
    seconds: 1800,
    schedule: '*/5 * * * *',
  },
} as const satisfies Partial<Record<Program, Task & { schedule: string }>>;

export const trainerReaches: readonly Peer[] = ['postgres', 'aws'];

/** Knative's container in each pod of a function, where the cluster sets nothing else. */
export const queueProxy: Size = { cpu: [25, 500], memory: [64, 256] };
