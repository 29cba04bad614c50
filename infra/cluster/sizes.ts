/** How much each container takes, and how much the namespace may: what its scalers start at most, and no more. */
import type { Environment } from './environment.ts';
import { gpuProfiles } from './gpu.ts';
import { cronJobs, functionNames, functions, jobs, queueProxy, type Size } from './programs.ts';

/** As the environment has it: where one small node holds everything, a request of processors is a share and no reservation. */
export const sizeIn = ({ embedded }: Environment, { cpu: [asked, most], memory }: Size): Size => ({
  cpu: [embedded ? Math.ceil(asked / 10) : asked, most],
  memory,
});

/** The trainer's container. On a GPU's node it takes the node. */
export function trainerSize({ trainer: { device } }: Environment): Size {
  if (device === 'cpu') return { cpu: [500, 2000], memory: [1024, 3072] };
  const { cpu, memoryGiB } = gpuProfiles[device.gpu];
  return { cpu: [cpu * 1000, cpu * 1000], memory: [memoryGiB * 1024, memoryGiB * 1024] };
}

/** Sizes of what stands in for AWS and RDS in the cluster. */
export const embeddedSize: Size = { cpu: [100, 2000], memory: [256, 1024] };

export interface Quota {
  pods: number;
  /** Thousandths of a core. */
  cpu: number;
  /** MiB. */
  memoryRequests: number;
  memoryLimits: number;
  gpus: number;
}

export function quotaOf(environment: Environment): Quota {
  const parts: [number, Size][] = [
    // Twice: while a revision takes over from another, both are there.
    ...functionNames.map((name): [number, Size] => [
      2 * environment.functions.maxScale[name],
      plus(functions[name], queueProxy),
    ]),
    // Once more: one that finishes what it does while its successor starts.
    [environment.trainer.maxReplicas + 1, trainerSize(environment)],
    ...[...Object.values(jobs), ...Object.values(cronJobs)].map((size): [number, Size] => [1, size]),
    // Postgres, the S3 and SQS server, and the job that makes their secrets.
    ...(environment.embedded ? [[3, embeddedSize] as [number, Size]] : []),
  ];
  const sum = (of: (size: Size) => number) =>
    parts.reduce((total, [count, size]) => total + count * of(sizeIn(environment, size)), 0);
  return {
    pods: sum(() => 1),
    cpu: sum(({ cpu }) => cpu[0]),
    memoryRequests: sum(({ memory }) => memory[0]),
    memoryLimits: sum(({ memory }) => memory[1]),
    gpus: environment.trainer.device === 'cpu' ? 0 : environment.trainer.maxReplicas + 1,
  };
}

const plus = (one: Size, other: Size): Size => ({
  cpu: [one.cpu[0] + other.cpu[0], one.cpu[1] + other.cpu[1]],
  memory: [one.memory[0] + other.memory[0], one.memory[1] + other.memory[1]],
});
