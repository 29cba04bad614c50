/**
 * What every pod of ours has in common. The plain objects of cdk8s-plus-27 (`k8s.Kube...`) are used for workloads and not its own
 * constructs, which write `replicas` beside a scaler, selectors that change when a construct moves, probes and sizes of
 * their own, and can say neither a seccomp profile nor `drop: [ALL]` nor a GPU.
 */
import { k8s } from 'cdk8s-plus-27';
import type { Program } from '#shared/settings.ts';
import type { Peer, Size } from '../programs.ts';

export const partOf = 'ai-teacher';

/** By these a pod is selected; they never change. */
export const selectorOf = (name: string) => ({ 'app.kubernetes.io/name': name, 'app.kubernetes.io/part-of': partOf });

/** A program's pods: also whom they reach, by which the network policies choose. */
export const labelsOf = (name: string, reaches: readonly Peer[]) => ({
  ...selectorOf(name),
  ...Object.fromEntries(reaches.map((peer) => [`reaches-${peer}`, 'true'])),
});

/** User and group of every program, the images' own: high, so that it is nobody on the node. */
const user = 10_001;

/** All that Pod Security `restricted` asks for, and a root that nobody can write to. */
export const containerSecurity = {
  runAsNonRoot: true,
  runAsUser: user,
  runAsGroup: user,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' as const },
};

/** fsGroup: volumes belong to that user. */
const podSecurity = { runAsNonRoot: true, fsGroup: user, seccompProfile: { type: 'RuntimeDefault' } };

/** Megabytes of what a container may write outside of its volumes: its logs. */
const logs = '64Mi';

/** The plain form, for kinds whose types are not cdk8s's. */
export const plainSize = ({ cpu, memory }: Size) => ({
  requests: { cpu: `${cpu[0]}m`, memory: `${memory[0]}Mi`, 'ephemeral-storage': logs },
  limits: { cpu: `${cpu[1]}m`, memory: `${memory[1]}Mi`, 'ephemeral-storage': '1Gi' },
});

export const quantities = (of: Record<string, string>): Record<string, k8s.Quantity> =>
  Object.fromEntries(Object.entries(of).map(([name, one]) => [name, k8s.Quantity.fromString(one)]));

/** @param extra resources such as `nvidia.com/gpu`, by name. As quantities: the serializer drops plain strings without a word. */
export function sizeOf(size: Size, extra: Record<string, string> = {}): k8s.ResourceRequirements {
  const { requests, limits } = plainSize(size);
  return { requests: quantities({ ...requests, ...extra }), limits: quantities({ ...limits, ...extra }) };
}

interface Pod {
  serviceAccount: string;
  containers: k8s.Container[];
  rest?: Partial<k8s.PodSpec>;
}

export const podSpec = ({ serviceAccount, containers, rest = {} }: Pod): k8s.PodSpec => ({
  serviceAccountName: serviceAccount,
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  securityContext: podSecurity,
  containers,
  ...rest,
});

export const container = (
  rest: Pick<k8s.Container, 'name' | 'image' | 'resources'> & Partial<k8s.Container>,
): k8s.Container => ({
  // An image is named by digest or by a tag that is not used twice.
  imagePullPolicy: 'IfNotPresent',
  securityContext: containerSecurity,
  ...rest,
});

/** The entry point of a program in its image. */
export const entryOf = (program: Program): string =>
  program === 'trainer' ? 'trainer/main.js' : `functions/${program}/main.js`;
