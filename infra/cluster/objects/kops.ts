/**
 * kOps' objects, the fields in use (kops.k8s.io/v1alpha2, kOps 1.36). kOps reads them without complaint about fields that it does not know,
 * so the types and the schema check of the tests are what finds a slip.
 */
import { ApiObject } from 'cdk8s';
import type { Construct } from 'constructs';

interface EtcdCluster {
  name: 'main' | 'events';
  manager: { backupRetentionDays: number };
  etcdMembers: { name: string; instanceGroup: string; encryptedVolume: true }[];
}

interface Subnet {
  name: string;
  zone: string;
  cidr: string;
  type: 'Private' | 'Utility';
}

export interface ClusterSpec {
  channel: 'stable';
  cloudProvider: 'aws';
  configBase: string;
  kubernetesVersion: string;
  kubernetesApiAccess: readonly string[];
  sshAccess: readonly string[];
  networkCIDR: string;
  nonMasqueradeCIDR: string;
  networking: { cilium: Record<string, never> };
  subnets: Subnet[];
  topology: { masters: 'private'; nodes: 'private'; dns: { type: 'Public' } };
  api: { loadBalancer: { class: 'Network'; type: 'Public' } };
  authorization: { rbac: Record<string, never> };
  etcdClusters: EtcdCluster[];
  iam: {
    legacy: false;
    allowContainerRegistry: true;
    useServiceAccountExternalPermissions: true;
    serviceAccountExternalPermissions: { name: string; namespace: string; aws: { inlinePolicy: string } }[];
  };
  serviceAccountIssuerDiscovery: { discoveryStore: string; enableAWSOIDCProvider: true };
  kubelet: { anonymousAuth: false; authenticationTokenWebhook: true; authorizationMode: 'Webhook' };
  certManager: { enabled: true };
  podIdentityWebhook: { enabled: true; replicas: number };
  metricsServer: { enabled: true; insecure: false };
  awsLoadBalancerController: { enabled: true };
  clusterAutoscaler: {
    enabled: true;
    expander: 'least-waste';
    balanceSimilarNodeGroups: boolean;
    skipNodesWithLocalStorage: boolean;
    scaleDownUnneededTime: string;
    maxNodeProvisionTime: string;
  };
  nodeTerminationHandler: { enabled: true; enableSQSTerminationDraining: true; enableRebalanceDraining: false };
}

export interface InstanceGroupSpec {
  role: 'ControlPlane' | 'Node';
  machineType: string;
  minSize: number;
  maxSize: number;
  subnets: readonly string[];
  autoscale?: boolean;
  rootVolumeSize: number;
  rootVolumeType: 'gp3';
  rootVolumeEncryption: true;
  instanceMetadata: { httpTokens: 'required'; httpPutResponseHopLimit: number };
  nodeLabels?: Record<string, string>;
  containerd?: { nvidiaGPU: { enabled: true; package: string } };
  capacityRebalance?: boolean;
  mixedInstancesPolicy?: {
    instances: readonly string[];
    onDemandBase: number;
    onDemandAboveBase: number;
    spotAllocationStrategy: 'price-capacity-optimized' | 'capacity-optimized';
  };
}

const apiVersion = 'kops.k8s.io/v1alpha2';

export const addKopsCluster = (scope: Construct, name: string, spec: ClusterSpec): ApiObject =>
  new ApiObject(scope, 'cluster', { apiVersion, kind: 'Cluster', metadata: { name }, spec });

export const addInstanceGroup = (scope: Construct, cluster: string, name: string, spec: InstanceGroupSpec): ApiObject =>
  new ApiObject(scope, name, {
    apiVersion,
    kind: 'InstanceGroup',
    metadata: { name, labels: { 'kops.k8s.io/cluster': cluster } },
    spec,
  });
