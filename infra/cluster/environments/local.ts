/** Any plain cluster of one node that has Knative Serving and KEDA: no AWS, no GPU. The first three lines name that cluster. */
import type { Environment } from '../environment.ts';

/** The node's address as this machine's browser reaches it. */
const address = '10.200.0.1';
/** Knative's domain (its ConfigMap `config-domain`): a function answers at NAME.NAMESPACE.DOMAIN. */
const domain = 'lab.local';
/** Namespace of the gateway in front of Knative: kourier-system, istio-system, traefik. */
const gateway = 'traefik';

const namespace = 'ai-teacher';
const url = (name: string) => `http://${name}.${namespace}.${domain}`;

export default {
  namespace,
  images: { functions: 'dev.local/ai-teacher-functions:0.1.0', trainer: 'dev.local/ai-teacher-trainer:0.1.0' },
  urls: { studio: url('studio'), export: url('export'), predict: url('predict') },
  gateway: { namespace: gateway, proxies: 3 },
  functions: { maxScale: { studio: 2, export: 2, predict: 2 }, retentionSeconds: 0 },
  trainer: { device: 'cpu', maxReplicas: 2, pollingSeconds: 5, cooldownSeconds: 30 },
  embedded: { image: 'dev.local/ai-teacher-embedded:0.1.0', address, port: 30900 },
} satisfies Environment;
