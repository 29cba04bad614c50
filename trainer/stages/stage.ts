/** What the stages of a training differ in; everything else is one way for all (training.ts). */
import type { Bucket } from '#shared/bucket.ts';
import type { ProjectChange } from '#shared/change-project.ts';
import type { Postgres } from '#shared/database.ts';
import type { SettingsOf } from '#shared/settings.ts';
import type { Dataset } from '../dataset.ts';
import type { Lease } from '../lease.ts';

export interface StageDeps {
  postgres: Postgres;
  bucket: Bucket;
  settings: SettingsOf<'FINE_TUNE_SECONDS'>;
}

/** The folders and files of one run on the scratch disk. */
export interface Scratch {
  originals: string;
  thumbnails: string;
  checkpoint: string;
}

/** What a stage has gathered before it trains. */
export interface Gathered {
  /** The images that the stage can use. */
  dataset: Dataset;
  /** What the Python program gets beside the rest. */
  params: Record<string, unknown>;
}

export interface Stage {
  /** Aborted when a worker that shuts down has to hand a run of this stage over. */
  handOver: AbortSignal;
  /** Downloads what the stage needs beside embeddings. */
  gather: (deps: StageDeps, lease: Lease, dataset: Dataset, scratch: Scratch, signal: AbortSignal) => Promise<Gathered>;
  /** Keeps what an interrupted training has come to, while the lease is still held. @throws LeaseLost */
  interrupt: (deps: StageDeps, lease: Lease, scratch: Scratch) => Promise<void>;
  /** Writes what follows from the publication of a model, in its transaction. */
  follow: (change: ProjectChange, lease: Lease, dataset: Dataset) => Promise<void>;
}
