/** What has to be there before anything of ours runs: the namespace, its limits and its closed doors, Knative, the secret. */
import { KnativeServing } from '@kubernetes-models/knative/operator.knative.dev/v1beta1/KnativeServing';
import { Chart } from 'cdk8s';
import { k8s } from 'cdk8s-plus-27';
import type { Construct } from 'constructs';
import { variables } from '#shared/settings.ts';
import type { Environment, OnAws } from '../environment.ts';
import { addExternalSecret, addSecretStore } from '../objects/external-secrets.ts';
import { allowDns, allowEgress, anywhere, denyAll, pods } from '../objects/network.ts';
import { partOf, plainSize, quantities, selectorOf } from '../objects/pods.ts';
import { priorities } from '../objects/priorities.ts';
import { addModel } from '../objects/typed.ts';
import { embeddedAws, secretName } from '../objects/variables.ts';
import { queueProxy } from '../programs.ts';
import { quotaOf, sizeIn } from '../sizes.ts';

/** Knative Serving's release, which the operator installs. */
const knativeVersion = '1.23';

export class Platform extends Chart {
  constructor(scope: Construct, id: string, environment: Environment) {
    super(scope, id, { namespace: environment.namespace, disableResourceNameHashes: true });
    addNamespace(this, environment.namespace);
    this.addPriorities();
    this.addLimits(environment);
    this.addNetwork(environment);
    if (environment.aws) {
      this.addKnative(environment);
      this.addSecret(environment);
    }
  }

  private addPriorities(): void {
    const add = (name: string, value: number, description: string) =>
      new k8s.KubePriorityClass(this, name, { metadata: { name }, value, preemptionPolicy: 'Never', description });
    add(priorities.job, -10, 'Jobs of AI Teacher: after what people wait for.');
    add(priorities.trainer, -100, 'Trainings of AI Teacher: where there is room.');
  }

  private addLimits(environment: Environment): void {
    const { pods: count, cpu, memoryRequests, memoryLimits, gpus } = quotaOf(environment);
    new k8s.KubeResourceQuota(this, 'quota', {
      metadata: { name: 'scalers-maxima' },
      spec: {
        hard: quantities({
          pods: `${count}`,
          'requests.cpu': `${cpu}m`,
          'requests.memory': `${memoryRequests}Mi`,
          'limits.memory': `${memoryLimits}Mi`,
          'requests.nvidia.com/gpu': `${gpus}`,
        }),
      },
    });
    // Knative's own container in each pod brings no limits, and the quota turns away what has none.
    const { requests, limits } = plainSize(sizeIn(environment, queueProxy));
    new k8s.KubeLimitRange(this, 'limits', {
      metadata: { name: 'defaults' },
      spec: { limits: [{ type: 'Container', defaultRequest: quantities(requests), default: quantities(limits) }] },
    });
  }

  private addNetwork(environment: Environment): void {
    denyAll(this);
    allowDns(this);
    const postgres = environment.postgres
      ? { peers: [{ ipBlock: { cidr: environment.postgres.cidr } }], ports: [environment.postgres.port] }
      : { peers: [pods(selectorOf('postgres'))], ports: [5432] };
    allowEgress(this, 'to-postgres', { of: { 'reaches-postgres': 'true' }, ...postgres });
    const aws = environment.aws
      ? { peers: [anywhere()], ports: [443] }
      : { peers: [pods(selectorOf(embeddedAws.service))], ports: [embeddedAws.port] };
    allowEgress(this, 'to-aws', { of: { 'reaches-aws': 'true' }, ...aws });
  }

  private addKnative({ knative }: Environment & OnAws): void {
    const namespace = 'knative-serving';
    addNamespace(this, namespace, {
      // Knative's and Kourier's own pods; `restricted` in what they ask for, as far as their releases do.
      'pod-security.kubernetes.io/enforce': 'baseline',
    });
    const { requests, limits } = plainSize(queueProxy);
    addModel(
      this,
      'knative-serving',
      new KnativeServing({
        metadata: { name: namespace, namespace },
        spec: {
          version: knativeVersion,
          'high-availability': { replicas: 2 },
          // The load balancer in front is ours (charts/functions.ts): it ends TLS, which Kourier's own Service could not say.
          ingress: { kourier: { enabled: true, 'service-type': 'ClusterIP' } },
          config: {
            // How the load balancer says who asks.
            kourier: { 'enable-proxy-protocol': 'true' },
            network: {
              'ingress-class': 'kourier.ingress.networking.knative.dev',
              // studio.DOMAIN, without the namespace: what the certificate names.
              'domain-template': '{{.Name}}.{{.Domain}}',
              'default-external-scheme': 'https',
            },
            domain: { [knative.domain]: '' },
            autoscaler: { 'scale-to-zero-grace-period': '30s', 'stable-window': '60s' },
            // A download may take ten minutes.
            defaults: { 'max-revision-timeout-seconds': '600' },
            deployment: {
              'queue-sidecar-cpu-request': requests.cpu,
              'queue-sidecar-cpu-limit': limits.cpu,
              'queue-sidecar-memory-request': requests.memory,
              'queue-sidecar-memory-limit': limits.memory,
            },
            gc: { 'min-non-active-revisions': '2', 'max-non-active-revisions': '5' },
          },
        },
      }),
    );
  }

  /** The operator of External Secrets reads with a role of its own; the programs see a Secret. */
  private addSecret({ aws }: Environment & OnAws): void {
    addSecretStore(this, 'secrets-manager', {
      provider: { aws: { service: 'SecretsManager', region: aws.region } },
    });
    addExternalSecret(this, secretName, {
      refreshInterval: '1h',
      secretStoreRef: { kind: 'SecretStore', name: 'secrets-manager' },
      target: { name: secretName, creationPolicy: 'Owner', deletionPolicy: 'Retain' },
      data: Object.entries(variables).flatMap(([name, variable]) =>
        'secret' in variable ? [{ secretKey: name, remoteRef: { key: aws.secret, property: name } }] : [],
      ),
    });
  }
}

function addNamespace(scope: Construct, name: string, security: Record<string, string> = restricted): void {
  new k8s.KubeNamespace(scope, `namespace-${name}`, {
    metadata: { name, labels: { 'app.kubernetes.io/part-of': partOf, ...security } },
  });
}

const restricted = Object.fromEntries(
  ['enforce', 'audit', 'warn'].map((mode) => [`pod-security.kubernetes.io/${mode}`, 'restricted']),
);
