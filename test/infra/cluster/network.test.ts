/** Evaluates the generated NetworkPolicies as a cluster would, for everybody who might want to talk to somebody. */
import { BlockList } from 'node:net';
import { describe, expect, test } from 'vitest';
import { type Manifest, podOf } from '../../../infra/cluster/invariants.ts';
import { environments, manifestsOf } from './support.ts';

interface Place {
  namespace?: string;
  labels?: Record<string, string>;
  /** Of what is not in the cluster. */
  address?: string;
}

interface Selector {
  matchLabels?: Record<string, string>;
}
interface Peer {
  podSelector?: Selector;
  namespaceSelector?: Selector;
  ipBlock?: { cidr: string; except?: string[] };
}
interface Rule {
  from?: Peer[];
  to?: Peer[];
  ports?: { port: number; protocol: string }[];
}

const selects = (selector: Selector, labels: Record<string, string>) =>
  Object.entries(selector.matchLabels ?? {}).every(([name, value]) => labels[name] === value);

function inBlock(address: string, cidr: string): boolean {
  const [network, bits] = cidr.split('/') as [string, string];
  const list = new BlockList();
  list.addSubnet(network, Number(bits));
  return list.check(address);
}

function matches(peer: Peer, place: Place, home: string): boolean {
  if (peer.ipBlock) {
    const { cidr, except = [] } = peer.ipBlock;
    return (
      place.address !== undefined && inBlock(place.address, cidr) && !except.some((one) => inBlock(place.address!, one))
    );
  }
  if (!place.labels) return false;
  const inNamespace = peer.namespaceSelector
    ? selects(peer.namespaceSelector, { 'kubernetes.io/metadata.name': place.namespace! })
    : place.namespace === home;
  return inNamespace && selects(peer.podSelector ?? {}, place.labels);
}

/** Whether one side lets it through: no policy for that way, or a rule of one of them. */
function lets(
  way: 'Ingress' | 'Egress',
  policies: Manifest[],
  own: Place,
  other: Place,
  port: number,
  protocol: string,
) {
  const mine = policies.filter(
    ({ metadata, spec }) =>
      own.labels &&
      metadata.namespace === own.namespace &&
      spec.policyTypes.includes(way) &&
      selects(spec.podSelector, own.labels),
  );
  if (mine.length === 0) return true;
  return mine.some(({ metadata, spec }) =>
    ((way === 'Ingress' ? spec.ingress : spec.egress) ?? []).some(
      (rule: Rule) =>
        (rule.ports ?? []).some((open) => open.port === port && open.protocol === protocol) &&
        ((way === 'Ingress' ? rule.from : rule.to) ?? []).some((peer) => matches(peer, other, metadata.namespace!)),
    ),
  );
}

function reaches(policies: Manifest[], from: Place, to: Place, port: number, protocol = 'TCP'): boolean {
  return lets('Egress', policies, from, to, port, protocol) && lets('Ingress', policies, to, from, port, protocol);
}

/** The labels of each program's pods, from the manifests. */
function placesOf(manifests: Manifest[]): Record<string, Place> {
  const made = manifests.filter((manifest) => podOf(manifest));
  return Object.fromEntries(
    made.map(({ kind, metadata, spec }) => {
      const template = kind === 'CronJob' ? spec.jobTemplate.spec.template : spec.template;
      return [
        metadata.name.replace(/-[0-9a-f]{8}$/, ''),
        { namespace: metadata.namespace!, labels: template.metadata.labels },
      ];
    }),
  );
}

const inside = (namespace: string, labels: Record<string, string> = {}): Place => ({ namespace, labels });
const dns = inside('kube-system', { 'k8s-app': 'kube-dns' });
const activator = inside('knative-serving', { app: 'activator' });
const autoscaler = inside('knative-serving', { app: 'autoscaler' });
const keda = inside('keda', { app: 'keda-operator' });
const stranger = inside('default', { app: 'anything' });
const metadata: Place = { address: '169.254.169.254' };
const podIdentity: Place = { address: '169.254.170.23' };
const internet: Place = { address: '93.184.216.34' };
const aws: Place = { address: '52.219.60.1' };
const apiServer: Place = { address: '100.64.0.1' };

const functions = ['studio', 'export', 'predict'];
const usersOf = {
  postgres: ['studio', 'export', 'predict', 'maintain', 'migrate', 'trainer'],
  aws: ['studio', 'maintain', 'provision', 'trainer'],
};

describe.each(Object.entries(environments))('in %s', (name, environment) => {
  const manifests = manifestsOf(environment);
  const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy');
  const places = placesOf(manifests);
  const programs = Object.keys(places).filter((one) => !['postgres', 'aws', 'secrets'].includes(one));
  const gateway = inside(environment.gateway.namespace, { app: 'gateway' });
  const local = name === 'local';
  const postgres: [Place, number] = local ? [places.postgres!, 5432] : [{ address: '10.0.33.7' }, 5432];
  const s3: [Place, number] = local ? [places.aws!, 4566] : [aws, 443];

  test('there are all the programs, and each can look up names', () => {
    expect(programs.sort()).toEqual([...functions, 'maintain', 'migrate', 'provision', 'trainer'].sort());
    for (const program of programs) {
      expect(reaches(policies, places[program]!, dns, 53, 'UDP'), program).toBe(true);
      expect(reaches(policies, places[program]!, dns, 53), program).toBe(true);
      expect(reaches(policies, places[program]!, stranger, 53, 'UDP'), program).toBe(false);
    }
  });

  test('Postgres and AWS are reached by those who use them, and by no other', () => {
    for (const program of programs) {
      expect(reaches(policies, places[program]!, ...postgres), `${program} to Postgres`).toBe(
        usersOf.postgres.includes(program),
      );
      expect(reaches(policies, places[program]!, ...s3), `${program} to AWS`).toBe(usersOf.aws.includes(program));
    }
    if (local) {
      for (const place of [stranger, keda, gateway, activator])
        expect(reaches(policies, place, ...postgres)).toBe(false);
    }
  });

  test('nothing else is reached: metadata, the API server, the internet, each other', () => {
    for (const program of programs) {
      const place = places[program]!;
      for (const port of [80, 443]) {
        expect(reaches(policies, place, metadata, port), `${program} to metadata`).toBe(false);
        expect(reaches(policies, place, podIdentity, port), `${program} to node agent`).toBe(false);
        expect(reaches(policies, place, apiServer, port), `${program} to Kubernetes`).toBe(false);
      }
      expect(reaches(policies, place, internet, 80), `${program} to the internet`).toBe(false);
      for (const other of programs) {
        for (const port of [80, 443, 8012, 8080]) {
          expect(reaches(policies, place, places[other]!, port), `${program} to ${other}`).toBe(false);
        }
      }
    }
  });

  test('functions are asked through Knative and the gateway alone, and measured by the autoscaler', () => {
    for (const program of functions) {
      const place = places[program]!;
      for (const port of [8012, 8013, 8112]) {
        expect(reaches(policies, activator, place, port)).toBe(true);
        expect(reaches(policies, gateway, place, port)).toBe(true);
        expect(reaches(policies, stranger, place, port)).toBe(false);
        expect(reaches(policies, keda, place, port)).toBe(false);
      }
      expect(reaches(policies, autoscaler, place, 9090)).toBe(true);
      expect(reaches(policies, stranger, place, 9090)).toBe(false);
      // Past Knative's container nobody comes.
      for (const from of [gateway, activator, stranger]) expect(reaches(policies, from, place, 8080)).toBe(false);
    }
  });

  test('nobody reaches the trainer and the jobs', () => {
    for (const program of programs.filter((one) => !functions.includes(one))) {
      for (const from of [stranger, keda, activator, gateway, internet]) {
        for (const port of [80, 443, 8012, 8080, 9090]) {
          expect(reaches(policies, from, places[program]!, port), program).toBe(false);
        }
      }
    }
  });

  test.runIf(local)('browsers and KEDA reach the embedded S3 and SQS server, its secrets job the API server', () => {
    expect(reaches(policies, internet, ...s3)).toBe(true);
    expect(reaches(policies, keda, ...s3)).toBe(true);
    expect(reaches(policies, places.secrets!, { address: '10.96.0.1' }, 443)).toBe(true);
    expect(reaches(policies, places.secrets!, metadata, 443)).toBe(false);
    expect(reaches(policies, places.secrets!, ...postgres)).toBe(false);
    for (const embedded of ['postgres', 'aws']) {
      expect(reaches(policies, places[embedded]!, internet, 443)).toBe(false);
      expect(reaches(policies, places[embedded]!, metadata, 80)).toBe(false);
    }
  });
});
