/** The GPUs that a trainer can get: one entry each. Which CUDA wheels run on which of them is part of the type. */

/** Builds of PyTorch, by the locked requirements of the trainer's image. */
export type Wheels = 'cuda13' | 'cuda128';

interface GpuProfile {
  machine: string;
  /** Value of the label by which the cluster autoscaler knows what a new node will have. */
  accelerator: string;
  /** Driver package of Ubuntu 24.04; CUDA 13 needs 580 or newer, and 580 is the last that drives a V100. */
  driver: string;
  wheels: readonly Wheels[];
  /** What one trainer takes of the node: all but the room for the node's own pods. */
  cpu: number;
  memoryGiB: number;
}

const driver = 'nvidia-headless-580-server';

export const gpuProfiles = {
  g4dn: {
    machine: 'g4dn.xlarge',
    accelerator: 'nvidia-tesla-t4',
    driver,
    wheels: ['cuda13', 'cuda128'],
    cpu: 3,
    memoryGiB: 12,
  },
  g5: {
    machine: 'g5.xlarge',
    accelerator: 'nvidia-a10g',
    driver,
    wheels: ['cuda13', 'cuda128'],
    cpu: 3,
    memoryGiB: 12,
  },
  g6: {
    machine: 'g6.xlarge',
    accelerator: 'nvidia-l4',
    driver,
    wheels: ['cuda13', 'cuda128'],
    cpu: 3,
    memoryGiB: 12,
  },
  // The origin's V100: CUDA 13 dropped it (sm_70), and so did every torch after 2.10.
  p3: {
    machine: 'p3.2xlarge',
    accelerator: 'nvidia-tesla-v100',
    driver,
    wheels: ['cuda128'],
    cpu: 7,
    memoryGiB: 52,
  },
} as const satisfies Record<string, GpuProfile>;

type Profiles = typeof gpuProfiles;

/** A GPU with wheels that run on it; no other pair can be written. */
export type Gpu = { [G in keyof Profiles]: { gpu: G; wheels: Profiles[G]['wheels'][number] } }[keyof Profiles];
