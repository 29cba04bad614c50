/** Who may talk to whom. Everything is closed; each rule here opens one way, by the labels that a pod wears (pods.ts). */
import { k8s } from 'cdk8s-plus-27';
import type { Construct } from 'constructs';

type Peer = k8s.NetworkPolicyPeer;

/** The node's metadata (its credentials among them) and the cluster's own network, Kubernetes's API in it. */
export const closed = ['169.254.0.0/16', '100.64.0.0/10'];

export const pods = (matchLabels: Record<string, string>): Peer => ({ podSelector: { matchLabels } });
export const namespace = (name: string): Peer => ({
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } },
});
export const anywhere = (except: readonly string[] = closed): Peer => ({
  ipBlock: { cidr: '0.0.0.0/0', except: [...except] },
});

const tcp = (ports: readonly number[]): k8s.NetworkPolicyPort[] =>
  ports.map((port) => ({ protocol: 'TCP', port: k8s.IntOrString.fromNumber(port) }));

interface Way {
  /** Pods that the rule is for; none: all of the namespace. */
  of?: Record<string, string>;
  peers: Peer[];
  ports: readonly number[];
}

const selector = (matchLabels: Way['of']): k8s.LabelSelector => (matchLabels ? { matchLabels } : {});

export const denyAll = (scope: Construct) =>
  new k8s.KubeNetworkPolicy(scope, 'deny-all', {
    metadata: { name: 'deny-all' },
    spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
  });

export const allowEgress = (scope: Construct, name: string, { of, peers, ports }: Way) =>
  new k8s.KubeNetworkPolicy(scope, name, {
    metadata: { name },
    spec: { podSelector: selector(of), policyTypes: ['Egress'], egress: [{ to: peers, ports: tcp(ports) }] },
  });

export const allowIngress = (scope: Construct, name: string, { of, peers, ports }: Way) =>
  new k8s.KubeNetworkPolicy(scope, name, {
    metadata: { name },
    spec: { podSelector: selector(of), policyTypes: ['Ingress'], ingress: [{ from: peers, ports: tcp(ports) }] },
  });

/** Names are looked up by every program, at the cluster's DNS alone. */
export const allowDns = (scope: Construct) =>
  new k8s.KubeNetworkPolicy(scope, 'dns', {
    metadata: { name: 'dns' },
    spec: {
      podSelector: {},
      policyTypes: ['Egress'],
      egress: [
        {
          to: [{ ...namespace('kube-system'), ...pods({ 'k8s-app': 'kube-dns' }) }],
          ports: ['UDP', 'TCP'].map((protocol) => ({ protocol, port: k8s.IntOrString.fromNumber(53) })),
        },
      ],
    },
  });
