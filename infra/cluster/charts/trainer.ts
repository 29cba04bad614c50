/** The trainer: as many as the queues ask for, none while there is nothing to do. */
import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject';
import { TriggerAuthentication } from '@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication';
import { Chart } from 'cdk8s';
import { k8s } from 'cdk8s-plus-27';
import type { Construct } from 'constructs';
import { type Environment, secondsIn } from '../environment.ts';
import { gpuProfiles } from '../gpu.ts';
import { container, entryOf, labelsOf, podSpec, selectorOf, sizeOf } from '../objects/pods.ts';
import { priorities } from '../objects/priorities.ts';
import { addServiceAccount } from '../objects/service-account.ts';
import { addModel } from '../objects/typed.ts';
import { addressesOf, secretName, variablesOf } from '../objects/variables.ts';
import { trainerReaches } from '../programs.ts';
import { sizeIn, trainerSize } from '../sizes.ts';

const name = 'trainer';

/** Seconds beyond the hand-over for what comes after it: connections, the children. */
export const closingSeconds = 15;

/**
 * Messages for which one more trainer comes. A worker takes thousands of pictures; of trainings, what it does in about a minute, less than a node
 * takes to come. A project that still changes has several messages under way and trains once.
 */
const queueLength = { uploads: 1000, training: 20 };

const gibibytes = (count: number) => k8s.Quantity.fromString(`${count}Gi`);

export class Trainer extends Chart {
  constructor(scope: Construct, id: string, environment: Environment) {
    super(scope, id, { namespace: environment.namespace, disableResourceNameHashes: true });
    addServiceAccount(this, name);
    this.addDeployment(environment);
    this.addScaler(environment);
    new k8s.KubePodDisruptionBudget(this, 'budget', {
      metadata: { name },
      // One hand-over at a time while nodes are drained; never none, for none would keep a node for ever.
      spec: { selector: { matchLabels: selectorOf(name) }, maxUnavailable: k8s.IntOrString.fromNumber(1) },
    });
  }

  private addDeployment(environment: Environment): void {
    const labels = labelsOf(name, trainerReaches);
    const image = environment.images.trainer;
    const volumeMounts = [
      { name: 'scratch', mountPath: '/scratch' },
      { name: 'tmp', mountPath: '/tmp' },
      { name: 'model-cache', mountPath: '/cache' },
    ];
    const device = environment.trainer.device;
    new k8s.KubeDeployment(this, name, {
      metadata: { name, labels },
      spec: {
        // No `replicas`: they are the scaler's.
        selector: { matchLabels: selectorOf(name) },
        // A GPU's node takes minutes to come.
        progressDeadlineSeconds: 1800,
        revisionHistoryLimit: 5,
        // None beyond the scaler's count: each would boot a node of its own.
        strategy: {
          type: 'RollingUpdate',
          rollingUpdate: { maxSurge: k8s.IntOrString.fromNumber(0), maxUnavailable: k8s.IntOrString.fromNumber(1) },
        },
        template: {
          metadata: {
            labels,
            annotations: {
              // Work that is under way is worth more than a tidier set of nodes.
              'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false',
              'karpenter.sh/do-not-disrupt': 'true',
            },
          },
          spec: podSpec({
            serviceAccount: name,
            containers: [
              container({
                name,
                image,
                args: [entryOf('trainer')],
                env: [
                  ...variablesOf('trainer', environment, {
                    DEVICE: device === 'cpu' ? 'cpu' : 'cuda',
                    SCRATCH: '/scratch',
                    MODEL_CACHE: '/cache/models',
                  }),
                  // Backbones from a hub, and kernels that are compiled on the way, for those who use them.
                  { name: 'HF_HOME', value: '/cache/huggingface' },
                  { name: 'XDG_CACHE_HOME', value: '/cache' },
                  { name: 'HOME', value: '/tmp' },
                ],
                resources: sizeOf(
                  sizeIn(environment, trainerSize(environment)),
                  device === 'cpu' ? {} : { 'nvidia.com/gpu': '1' },
                ),
                volumeMounts,
              }),
            ],
            rest: {
              terminationGracePeriodSeconds: secondsIn(environment, 'DRAIN_SECONDS') + closingSeconds,
              priorityClassName: priorities.trainer,
              initContainers: [
                // The image's backbones come first; what is added to the cache later needs a folder that can be written to.
                container({
                  name: 'seed-model-cache',
                  image,
                  command: ['sh', '-c', 'cp -r /models /cache/'],
                  resources: sizeOf(sizeIn(environment, { cpu: [50, 500], memory: [64, 128] })),
                  volumeMounts: volumeMounts.filter(({ mountPath }) => mountPath === '/cache'),
                }),
              ],
              volumes: [
                { name: 'scratch', emptyDir: { sizeLimit: gibibytes(10) } },
                { name: 'tmp', emptyDir: { sizeLimit: gibibytes(1) } },
                { name: 'model-cache', emptyDir: { sizeLimit: gibibytes(10) } },
              ],
              ...(device !== 'cpu' && placement(gpuProfiles[device.gpu].accelerator)),
            },
          }),
        },
      },
    });
  }

  private addScaler(environment: Environment): void {
    const { maxReplicas, pollingSeconds, cooldownSeconds } = environment.trainer;
    const { UPLOADS_QUEUE_URL, TRAINING_QUEUE_URL, AWS_REGION, AWS_ENDPOINT_URL_SQS } = addressesOf(environment);
    addModel(
      this,
      'keda',
      new TriggerAuthentication({
        metadata: { name: 'keda' },
        spec: environment.aws
          ? { podIdentity: { provider: 'aws' } }
          : {
              secretTargetRef: [
                { parameter: 'awsAccessKeyID', name: secretName, key: 'AWS_ACCESS_KEY_ID' },
                { parameter: 'awsSecretAccessKey', name: secretName, key: 'AWS_SECRET_ACCESS_KEY' },
              ],
            },
      }),
    );
    const queue = (url: string, length: number, scaleOnDelayed: boolean) => ({
      type: 'aws-sqs-queue',
      authenticationRef: { name: 'keda' },
      metadata: {
        queueURL: url,
        queueLength: `${length}`,
        awsRegion: AWS_REGION!,
        // What a worker is at stays in its queue, in flight: while it is, nobody ends that worker for being idle.
        scaleOnInFlight: 'true',
        scaleOnDelayed: `${scaleOnDelayed}`,
        ...(AWS_ENDPOINT_URL_SQS && { awsEndpoint: AWS_ENDPOINT_URL_SQS }),
      },
    });
    addModel(
      this,
      'scaler',
      new ScaledObject({
        metadata: { name },
        spec: {
          scaleTargetRef: { name },
          minReplicaCount: 0,
          maxReplicaCount: maxReplicas,
          pollingInterval: pollingSeconds,
          cooldownPeriod: cooldownSeconds,
          triggers: [
            queue(UPLOADS_QUEUE_URL!, queueLength.uploads, false),
            // A project that settles has its message delayed: its trainer should be there when it is due.
            queue(TRAINING_QUEUE_URL!, queueLength.training, true),
          ],
          advanced: {
            horizontalPodAutoscalerConfig: {
              behavior: {
                scaleUp: {
                  stabilizationWindowSeconds: 0,
                  policies: [{ type: 'Pods', value: maxReplicas, periodSeconds: 15 }],
                },
                // Whom it ends is not ours to say, so it ends few, and the one that it ends hands over.
                scaleDown: {
                  stabilizationWindowSeconds: cooldownSeconds,
                  policies: [{ type: 'Pods', value: 1, periodSeconds: environment.aws ? 600 : 60 }],
                },
              },
            },
          },
        },
      }),
    );
  }
}

/** On a GPU's node, and nowhere else. */
const placement = (accelerator: string): Partial<k8s.PodSpec> => ({
  runtimeClassName: 'nvidia',
  nodeSelector: { 'kops.k8s.io/gpu': '1', 'k8s.amazonaws.com/accelerator': accelerator },
  tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }],
});
