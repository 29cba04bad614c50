/** The Kubernetes cluster itself, as kOps reads it: control plane, nodes, GPU nodes that start at zero. */
import { Chart } from 'cdk8s';
import type { Construct } from 'constructs';
import type { Environment, OnAws } from '../environment.ts';
import { gpuProfiles } from '../gpu.ts';
import { addInstanceGroup, addKopsCluster, type InstanceGroupSpec } from '../objects/kops.ts';
import { grants } from '../permissions.ts';

/** The version that Knative, KEDA and kOps have in common. */
const kubernetesVersion = '1.35.7';

/** One more hop would let a pod take the node's credentials. */
const instanceMetadata = { httpTokens: 'required', httpPutResponseHopLimit: 1 } as const;
const disk = (gigabytes: number) =>
  ({ rootVolumeSize: gigabytes, rootVolumeType: 'gp3', rootVolumeEncryption: true }) as const;

export class Kops extends Chart {
  constructor(scope: Construct, id: string, environment: Environment & OnAws) {
    super(scope, id, { disableResourceNameHashes: true });
    const { aws, kops, namespace, trainer } = environment;
    const { name, zones } = kops;
    const controlPlane = (zone: string) => `control-plane-${zone}`;

    addKopsCluster(this, name, {
      channel: 'stable',
      cloudProvider: 'aws',
      configBase: `${kops.stateStore}/${name}`,
      kubernetesVersion,
      kubernetesApiAccess: kops.apiAccess,
      // Nobody: a node is entered through the Systems Manager, or replaced.
      sshAccess: [],
      networkCIDR: kops.network,
      nonMasqueradeCIDR: '100.64.0.0/10',
      // Enforces NetworkPolicy.
      networking: { cilium: {} },
      subnets: subnetsOf(kops.network, zones),
      topology: { masters: 'private', nodes: 'private', dns: { type: 'Public' } },
      api: { loadBalancer: { class: 'Network', type: 'Public' } },
      authorization: { rbac: {} },
      etcdClusters: (['main', 'events'] as const).map((etcd) => ({
        name: etcd,
        manager: { backupRetentionDays: 90 },
        etcdMembers: zones.map((zone) => ({
          name: zone.at(-1)!,
          instanceGroup: controlPlane(zone),
          encryptedVolume: true,
        })),
      })),
      iam: {
        legacy: false,
        allowContainerRegistry: true,
        useServiceAccountExternalPermissions: true,
        serviceAccountExternalPermissions: grants(aws, namespace).map(({ serviceAccount, policy, ...grant }) => ({
          name: serviceAccount,
          namespace: grant.namespace,
          aws: { inlinePolicy: JSON.stringify(policy.Statement, null, 1) },
        })),
      },
      serviceAccountIssuerDiscovery: { discoveryStore: kops.discoveryStore, enableAWSOIDCProvider: true },
      kubelet: { anonymousAuth: false, authenticationTokenWebhook: true, authorizationMode: 'Webhook' },
      certManager: { enabled: true },
      podIdentityWebhook: { enabled: true, replicas: 2 },
      metricsServer: { enabled: true, insecure: false },
      awsLoadBalancerController: { enabled: true },
      clusterAutoscaler: {
        enabled: true,
        expander: 'least-waste',
        balanceSimilarNodeGroups: false,
        // A trainer's scratch is local and worth nothing: its node goes when it is idle.
        skipNodesWithLocalStorage: false,
        scaleDownUnneededTime: '5m',
        // Drivers are installed with the first start of a GPU node.
        maxNodeProvisionTime: '20m',
      },
      nodeTerminationHandler: {
        enabled: true,
        enableSQSTerminationDraining: true,
        // A warning that often comes to nothing; each drain costs a hand-over.
        enableRebalanceDraining: false,
      },
    });

    for (const zone of zones) {
      addInstanceGroup(this, name, controlPlane(zone), {
        role: 'ControlPlane',
        machineType: 't3.medium',
        minSize: 1,
        maxSize: 1,
        subnets: [zone],
        instanceMetadata,
        ...disk(64),
      });
    }
    addInstanceGroup(this, name, 'nodes', {
      role: 'Node',
      machineType: kops.nodes.machine,
      minSize: kops.nodes.min,
      maxSize: kops.nodes.max,
      subnets: zones,
      instanceMetadata,
      ...disk(64),
    });
    if (trainer.device !== 'cpu') {
      addInstanceGroup(this, name, 'gpu', gpuNodes(gpuProfiles[trainer.device.gpu], environment));
    }
  }
}

/**
 * Nodes for one trainer each, none at rest. kOps labels and taints them for `nvidiaGPU` and tells the autoscaler the same by the group's tags, so
 * that it knows of an empty group what a node of it would have.
 */
function gpuNodes(
  profile: (typeof gpuProfiles)[keyof typeof gpuProfiles],
  { kops, trainer }: Environment & OnAws,
): InstanceGroupSpec {
  return {
    role: 'Node',
    machineType: profile.machine,
    minSize: 0,
    maxSize: trainer.maxReplicas,
    subnets: kops.zones,
    autoscale: true,
    instanceMetadata,
    // The trainer's image has 6 GB, unpacked 9.
    ...disk(100),
    containerd: { nvidiaGPU: { enabled: true, package: profile.driver } },
    nodeLabels: { 'k8s.amazonaws.com/accelerator': profile.accelerator },
    ...(kops.spot && {
      capacityRebalance: false,
      mixedInstancesPolicy: {
        instances: [profile.machine],
        onDemandBase: 0,
        onDemandAboveBase: 0,
        spotAllocationStrategy: 'price-capacity-optimized',
      },
    }),
  };
}

/** A private /19 for the nodes and a public /24 for load balancers and NAT gateways in each zone, out of the network's /16. */
function subnetsOf(network: string, zones: readonly string[]) {
  const [first, second] = network.split('.');
  return zones.flatMap((zone, index) => [
    { name: zone, zone, cidr: `${first}.${second}.${32 * (index + 1)}.0/19`, type: 'Private' as const },
    { name: `utility-${zone}`, zone, cidr: `${first}.${second}.${index}.0/24`, type: 'Utility' as const },
  ]);
}
