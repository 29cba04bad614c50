import { k8s } from 'cdk8s-plus-27';
import type { Construct } from 'constructs';

/** By its name kOps' roles know it; no token of Kubernetes's API comes with it. */
export const addServiceAccount = (scope: Construct, name: string) =>
  new k8s.KubeServiceAccount(scope, `${name}-account`, { metadata: { name }, automountServiceAccountToken: false });
