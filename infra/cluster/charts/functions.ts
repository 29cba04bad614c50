/** studio, export and predict: served by Knative, none of them running while nobody asks. */
import { Service } from '@kubernetes-models/knative/serving.knative.dev/v1/Service';
import { Chart } from 'cdk8s';
import { k8s } from 'cdk8s-plus-27';
import type { Construct } from 'constructs';
import type { Environment, OnAws } from '../environment.ts';
import { allowIngress, namespace } from '../objects/network.ts';
import { containerSecurity, entryOf, labelsOf, plainSize, selectorOf } from '../objects/pods.ts';
import { addServiceAccount } from '../objects/service-account.ts';
import { addModel } from '../objects/typed.ts';
import { variablesOf } from '../objects/variables.ts';
import { type FunctionName, functionNames, functions } from '../programs.ts';
import { sizeIn } from '../sizes.ts';

/** Knative's container in front of the program: requests, and for the autoscaler how many. */
const queueProxyPorts = { requests: [8012, 8013, 8112], metrics: [9090] };

export class Functions extends Chart {
  constructor(scope: Construct, id: string, environment: Environment) {
    super(scope, id, { namespace: environment.namespace, disableResourceNameHashes: true });
    for (const name of functionNames) {
      addServiceAccount(this, name);
      addModel(this, name, service(name, environment));
      const of = selectorOf(name);
      allowIngress(this, `${name}-requests`, {
        of,
        // The activator while there is no pod or not enough; else the gateway itself.
        peers: [namespace('knative-serving'), namespace(environment.gateway.namespace)],
        ports: queueProxyPorts.requests,
      });
      allowIngress(this, `${name}-metrics`, {
        of,
        peers: [namespace('knative-serving')],
        ports: queueProxyPorts.metrics,
      });
    }
    if (environment.aws) addLoadBalancer(this, environment);
  }
}

/** From browsers to Kourier: TLS ends here, and the proxy protocol keeps who asks, which the way through a node's port loses. */
function addLoadBalancer(scope: Construct, { gateway, knative }: Environment & OnAws): void {
  const annotation = (name: string) => `service.beta.kubernetes.io/aws-load-balancer-${name}`;
  const kourier = { app: '3scale-kourier-gateway' };
  new k8s.KubeService(scope, 'load-balancer', {
    metadata: {
      name: 'ai-teacher',
      namespace: gateway.namespace,
      annotations: {
        [annotation('scheme')]: 'internet-facing',
        // Pods have no addresses of the network's own (Cilium).
        [annotation('nlb-target-type')]: 'instance',
        [annotation('ssl-cert')]: knative.certificateArn,
        [annotation('ssl-ports')]: '443',
        [annotation('backend-protocol')]: 'tcp',
        [annotation('proxy-protocol')]: '*',
      },
    },
    spec: {
      type: 'LoadBalancer',
      loadBalancerClass: 'service.k8s.aws/nlb',
      selector: kourier,
      ports: [{ name: 'https', port: 443, targetPort: k8s.IntOrString.fromNumber(8080) }],
    },
  });
}

function service(name: FunctionName, environment: Environment): Service {
  const { concurrency, seconds, reaches } = functions[name];
  const { maxScale, retentionSeconds } = environment.functions;
  const labels = labelsOf(name, reaches);
  return new Service({
    metadata: {
      name,
      labels,
      // A new revision takes over bit by bit.
      annotations: { 'serving.knative.dev/rollout-duration': '60s' },
    },
    spec: {
      template: {
        metadata: {
          labels,
          annotations: {
            'autoscaling.knative.dev/min-scale': '0',
            'autoscaling.knative.dev/max-scale': `${maxScale[name]}`,
            'autoscaling.knative.dev/scale-to-zero-pod-retention-period': `${retentionSeconds}s`,
            // The activator stays in front of every pod: else a request has passed one proxy more at a cold start than at a warm one, and
            // whom X-Forwarded-For names (TRUSTED_PROXIES) would be a matter of luck, or of whoever writes the header.
            'autoscaling.knative.dev/target-burst-capacity': '-1',
          },
        },
        spec: {
          serviceAccountName: name,
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          containerConcurrency: concurrency,
          timeoutSeconds: seconds,
          containers: [
            {
              name,
              image: environment.images.functions,
              imagePullPolicy: 'IfNotPresent',
              args: [entryOf(name)],
              // Knative itself gives the program its PORT.
              ports: [{ containerPort: 8080 }],
              env: variablesOf(name, environment),
              resources: plainSize(sizeIn(environment, functions[name])),
              securityContext: containerSecurity,
              // 0: as often as it takes at a cold start, by Knative's container. No liveness probe: it would end what only waits for Postgres.
              readinessProbe: { httpGet: { path: '/healthz', port: 8080 }, periodSeconds: 0, successThreshold: 1 },
            },
          ],
        },
      },
    },
  });
}
