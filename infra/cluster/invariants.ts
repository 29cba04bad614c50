/**
 * What must hold of every manifest, checked when it is generated: each breach is an error that names the construct's path. They look
 * at the manifests as written, not at what was meant, so that a serializer that drops a field is found too.
 */

import type { App } from 'cdk8s';
import { ApiObject } from 'cdk8s';
import { type Program, programs, type VariableName, variables } from '#shared/settings.ts';
import { closingSeconds } from './charts/trainer.ts';
import type { Environment } from './environment.ts';
import { entryOf } from './objects/pods.ts';

/** The fields in use, of any kind of object. */
export interface Manifest {
  kind: string;
  apiVersion: string;
  metadata: { name: string; namespace?: string };
  // biome-ignore lint/suspicious/noExplicitAny: a manifest of any kind.
  spec?: any;
}

interface Container {
  name: string;
  image?: string;
  args?: string[];
  env?: { name: string; value?: string; valueFrom?: unknown }[];
  resources?: { limits?: Record<string, string>; requests?: Record<string, string> };
  securityContext?: Record<string, unknown> & {
    capabilities?: { drop?: string[] };
    seccompProfile?: { type?: string };
  };
}

interface Pod {
  containers?: Container[];
  initContainers?: Container[];
  terminationGracePeriodSeconds?: number;
  automountServiceAccountToken?: boolean;
  [field: string]: unknown;
}

/** Gives a sentence for each breach. */
type Invariant = (manifest: Manifest, environment: Environment, all: Manifest[]) => string[];

/** Fields of a pod that Knative takes behind a feature flag only, or never. */
const behindFlags = [
  'affinity',
  'dnsConfig',
  'dnsPolicy',
  'hostAliases',
  'hostIPC',
  'hostNetwork',
  'hostPID',
  'initContainers',
  'lifecycle',
  'nodeSelector',
  'priorityClassName',
  'runtimeClassName',
  'schedulerName',
  'securityContext',
  'shareProcessNamespace',
  'terminationGracePeriodSeconds',
  'tolerations',
  'topologySpreadConstraints',
];

const isKnative = ({ apiVersion, kind }: Manifest) => apiVersion === 'serving.knative.dev/v1' && kind === 'Service';

/** The pod that an object makes, if it makes one. */
export function podOf({ kind, spec }: Manifest): Pod | undefined {
  if (kind === 'CronJob') return spec.jobTemplate.spec.template.spec;
  return spec?.template?.spec?.containers ? spec.template.spec : undefined;
}

const containersOf = (manifest: Manifest): Container[] => {
  const pod = podOf(manifest);
  return pod ? [...(pod.initContainers ?? []), ...(pod.containers ?? [])] : [];
};

/** Which of the programs a container runs, by the entry point that it is given. */
const programOf = ({ args }: Container): Program | undefined =>
  (Object.keys(programs) as Program[]).find((program) => args?.[0] === entryOf(program));

/** From the environment's settings or Knative itself, which allows nobody else to set it. */
const givenByKnative: VariableName[] = ['PORT'];

export const invariants: Record<string, Invariant> = {
  'GPU limit': (manifest, { trainer }) =>
    trainer.device !== 'cpu' && manifest.kind === 'Deployment' && manifest.metadata.name === 'trainer'
      ? containersOf(manifest)
          .filter(({ name, resources }) => name === 'trainer' && resources?.limits?.['nvidia.com/gpu'] !== '1')
          .map(
            ({ name }) =>
              `container ${name} has no limit of nvidia.com/gpu: "1"; it would start on a node without a GPU`,
          )
      : [],

  'replicas and scaler': (manifest, _, all) =>
    all.some(({ kind, spec }) => kind === 'ScaledObject' && spec.scaleTargetRef.name === manifest.metadata.name) &&
    manifest.kind === 'Deployment' &&
    manifest.spec.replicas !== undefined
      ? ['has replicas beside a scaler: each apply would fight it; leave them out']
      : [],

  'scaler maximum': ({ kind, spec, ...manifest }) =>
    kind === 'ScaledObject' && !(spec.maxReplicaCount >= 1)
      ? ['has no maxReplicaCount: a hundred pods, each with a GPU, would be the limit']
      : isKnative({ kind, ...manifest }) &&
          !(Number(spec.template.metadata?.annotations?.['autoscaling.knative.dev/max-scale']) >= 1)
        ? ['has no autoscaling.knative.dev/max-scale: there would be no limit']
        : [],

  'scaler fallback': ({ kind, spec }) =>
    kind === 'ScaledObject' && spec.fallback !== undefined
      ? ['has a fallback: queues that cannot be asked would count as full and boot GPU nodes; leave it out']
      : [],

  'security context': (manifest) =>
    containersOf(manifest).flatMap(({ name, securityContext: given }) => {
      const missing = [
        ['runAsNonRoot: true', given?.runAsNonRoot === true],
        ['runAsUser', Number(given?.runAsUser) > 0],
        ['allowPrivilegeEscalation: false', given?.allowPrivilegeEscalation === false],
        ['readOnlyRootFilesystem: true', given?.readOnlyRootFilesystem === true],
        ['capabilities.drop: [ALL]', given?.capabilities?.drop?.includes('ALL') === true],
        ['seccompProfile.type: RuntimeDefault', given?.seccompProfile?.type === 'RuntimeDefault'],
      ].flatMap(([what, holds]) => (holds ? [] : [what]));
      return missing.length > 0 ? [`container ${name} lacks ${missing.join(', ')} in its securityContext`] : [];
    }),

  'requests and limits': (manifest) =>
    containersOf(manifest).flatMap(({ name, resources }) =>
      ['cpu', 'memory']
        .filter((what) => !resources?.requests?.[what] || !resources.limits?.[what])
        .map((what) => `container ${name} lacks a request or a limit of ${what}: the quota would turn its pods away`),
    ),

  'service account token': (manifest) =>
    podOf(manifest) &&
    podOf(manifest)?.automountServiceAccountToken !== false &&
    manifest.spec.template?.metadata?.labels?.['reaches-kubernetes'] !== 'true'
      ? ['mounts a token of the Kubernetes API, which it does not reach: set automountServiceAccountToken: false']
      : [],

  'image digest': (manifest, { aws }) =>
    containersOf(manifest)
      .filter(({ image }) => aws && !/@sha256:[0-9a-f]{64}$/.test(image ?? ''))
      .map(({ name, image }) => `container ${name} has the image ${image}: expected a digest (NAME@sha256:...)`),

  'Knative feature flag': (manifest) =>
    isKnative(manifest)
      ? [
          ...behindFlags.filter((field) => podOf(manifest)?.[field] !== undefined),
          ...containersOf(manifest).flatMap(({ lifecycle }: Container & { lifecycle?: unknown }) =>
            lifecycle === undefined ? [] : ['containers.lifecycle'],
          ),
        ].map((field) => `has ${field}, which Knative refuses or takes behind a feature flag only: leave it out`)
      : [],

  'program variables': (manifest) =>
    containersOf(manifest).flatMap((container) => {
      const program = programOf(container);
      if (!program) return [];
      const names: readonly VariableName[] = programs[program];
      return names.flatMap((name) => {
        const given = container.env?.find((one) => one.name === name);
        const knative = isKnative(manifest) && givenByKnative.includes(name);
        if (knative) return given ? [`sets ${name}, which Knative sets itself: leave it out`] : [];
        const { meaning, parse, optional, ...variable } = variables[name] as (typeof variables)['PORT'] & {
          optional?: true;
        };
        if (!given)
          return optional || variable.default ? [] : [`${program} needs ${name} (${meaning}), which is not given`];
        if ('secret' in variables[name]) return given.valueFrom ? [] : [`${name} is a secret: take it from the Secret`];
        try {
          if (given.value !== undefined) parse(given.value);
          return [];
        } catch (cause) {
          return [`${name} is ${JSON.stringify(given.value)}: expected ${(cause as Error).message}`];
        }
      });
    }),

  'grace period': (manifest) => {
    const container = containersOf(manifest).find((one) => programOf(one) === 'trainer');
    if (!container) return [];
    const given = container.env?.find(({ name }) => name === 'DRAIN_SECONDS')?.value;
    const least = Number(given ?? variables.DRAIN_SECONDS.default) + closingSeconds;
    const grace = podOf(manifest)?.terminationGracePeriodSeconds ?? 30;
    return grace >= least
      ? []
      : [
          `ends after a grace period of ${grace} s; a hand-over takes up to ${least} s (DRAIN_SECONDS and ${closingSeconds})`,
        ];
  },
};

/** Has every object of `app` checked when it is synthesized. */
export function addInvariants(app: App, environment: Environment): void {
  const objects = app.node.findAll().filter((node) => node instanceof ApiObject);
  let written: Manifest[] | undefined;
  objects.forEach((object, index) => {
    object.node.addValidation({
      validate: () => {
        written ??= objects.map((one) => one.toJson() as Manifest);
        const all = written;
        const manifest = all[index]!;
        return Object.entries(invariants).flatMap(([name, invariant]) =>
          invariant(manifest, environment, all).map(
            (breach) => `${manifest.kind} ${manifest.metadata.name} ${breach} (${name})`,
          ),
        );
      },
    });
  });
}
