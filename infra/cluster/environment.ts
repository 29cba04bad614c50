/** What an environment can say: typed, and checked before anything is generated. No chart reads anything else. */
import { type VariableName, variables } from '#shared/settings.ts';
import type { Gpu } from './gpu.ts';
import type { FunctionName } from './programs.ts';

export type Environment = Common & (OnAws | OnOneNode);

interface Common {
  /** Namespace of everything that is ours. */
  namespace: string;
  /** By digest on AWS: what runs is what was reviewed. */
  images: { functions: string; trainer: string };
  /** As browsers reach them. */
  urls: Record<FunctionName, string>;
  gateway: {
    /** Namespace of the ingress gateway in front of Knative's Services. */
    namespace: string;
    /** How many of them in front of a program add to X-Forwarded-For (TRUSTED_PROXIES). */
    proxies: number;
  };
  functions: {
    /** Most pods of each. */
    maxScale: Record<FunctionName, number>;
    /** Seconds that the last idle pod stays: a lesson's next click finds it warm. */
    retentionSeconds: number;
  };
  trainer: {
    device: 'cpu' | Gpu;
    /** Most trainers at once, each with a GPU of its own where it has one: the bill's upper bound. */
    maxReplicas: number;
    /** Seconds between two looks at the queues while there is no trainer. */
    pollingSeconds: number;
    /** Seconds without work until the last trainer, and with it its node, goes. */
    cooldownSeconds: number;
  };
  /** Of any variable of the programs: another value than its default. */
  variables?: Partial<Record<VariableName, string>>;
}

/** S3, SQS, Secrets Manager, kOps; Postgres where `postgres` says. */
export interface OnAws {
  aws: {
    account: string;
    region: string;
    bucket: string;
    /** A secret of Secrets Manager, JSON with DATABASE_URL and SIGNING_SECRET. */
    secret: string;
  };
  /** Where Postgres (RDS or any other) is reached. */
  postgres: { cidr: string; port: number };
  kops: {
    /** Name of the cluster, in a zone of Route 53. */
    name: string;
    /** `s3://BUCKET`: kOps' own state. */
    stateStore: string;
    /** Bucket, readable by anybody, of the cluster's OpenID discovery documents: that is how AWS knows the service accounts. */
    discoveryStore: string;
    /** Zones of the nodes, the control plane a member in each: one or three. */
    zones: readonly string[];
    network: string;
    /** Who may reach the Kubernetes API. */
    apiAccess: readonly string[];
    nodes: { machine: string; min: number; max: number };
    /** Ends GPU nodes at two minutes' notice for about a third of the price; trainings are handed over. */
    spot: boolean;
  };
  knative: {
    domain: string;
    /** TLS ends at the load balancer, with this certificate of ACM. */
    certificateArn: string;
  };
  embedded?: never;
}

/** A plain cluster of one node: the embedded S3 and SQS server and Postgres, as pods. Knative and KEDA are there already. */
export interface OnOneNode {
  embedded: {
    image: string;
    /** The node's address as browsers reach it, and the port on it that is S3. */
    address: string;
    port: number;
  };
  aws?: never;
  kops?: never;
  knative?: never;
  postgres?: never;
}

/** A time that the programs have in this environment. */
export const secondsIn = (environment: Environment, name: 'SETTLE_SECONDS' | 'DRAIN_SECONDS'): number =>
  Number(environment.variables?.[name] ?? variables[name].default);

const whole = (low: number, high: number) => (value: number) =>
  Number.isInteger(value) && value >= low && value <= high;

/** @throws Error with a line for each setting that cannot be, naming it, what came and what was expected. */
export function checkEnvironment(environment: Environment): void {
  const wrong: string[] = [];
  const expect = (holds: boolean, name: string, value: unknown, expected: string) => {
    if (!holds) wrong.push(`${name} is ${JSON.stringify(value)}; expected ${expected}`);
  };
  const { functions, trainer, gateway, namespace, images, urls } = environment;
  expect(/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace), 'namespace', namespace, 'a DNS label');
  for (const [name, most] of Object.entries(functions.maxScale)) {
    expect(
      whole(1, 1000)(most),
      `functions.maxScale.${name}`,
      most,
      'a whole number from 1: Knative takes 0 for "no limit"',
    );
  }
  expect(
    whole(0, 3600)(functions.retentionSeconds),
    'functions.retentionSeconds',
    functions.retentionSeconds,
    '0 to 3600',
  );
  expect(whole(1, 1000)(trainer.maxReplicas), 'trainer.maxReplicas', trainer.maxReplicas, 'a whole number from 1');
  expect(whole(1, 300)(trainer.pollingSeconds), 'trainer.pollingSeconds', trainer.pollingSeconds, '1 to 300');
  const least = secondsIn(environment, 'SETTLE_SECONDS') + 2 * trainer.pollingSeconds;
  expect(
    trainer.cooldownSeconds > least,
    'trainer.cooldownSeconds',
    trainer.cooldownSeconds,
    `more than ${least}, the settle time and two looks: else a trainer goes before its own message is due`,
  );
  expect(whole(0, 10)(gateway.proxies), 'gateway.proxies', gateway.proxies, '0 to 10');
  for (const [name, url] of Object.entries(urls)) {
    const scheme = environment.aws ? 'https:' : 'http:';
    expect(
      URL.canParse(url) && new URL(url).protocol === scheme,
      `urls.${name}`,
      url,
      `a URL that starts with ${scheme}//`,
    );
  }
  for (const [name, value] of Object.entries(environment.variables ?? {})) {
    try {
      variables[name as VariableName].parse(value);
    } catch (cause) {
      wrong.push(`variables.${name} is ${JSON.stringify(value)}; expected ${(cause as Error).message}`);
    }
    expect(!('secret' in variables[name as VariableName]), `variables.${name}`, '...', 'no secret in a manifest');
  }
  if (environment.aws) {
    const { aws, kops, postgres } = environment;
    expect(/^\d{12}$/.test(aws.account), 'aws.account', aws.account, 'twelve digits');
    expect(/^[a-z]{2}(-[a-z]+)+-\d$/.test(aws.region), 'aws.region', aws.region, 'a region such as ap-northeast-2');
    expect(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(aws.bucket), 'aws.bucket', aws.bucket, 'the name of a bucket');
    expect(
      [1, 3].includes(kops.zones.length),
      'kops.zones',
      kops.zones,
      'one or three: etcd needs an odd number of members',
    );
    for (const zone of kops.zones) expect(zone.startsWith(aws.region), 'kops.zones', zone, `a zone of ${aws.region}`);
    expect(/^\d+(\.\d+){3}\/\d+$/.test(postgres.cidr), 'postgres.cidr', postgres.cidr, 'a block such as 10.0.0.0/16');
    for (const [name, image] of Object.entries(images)) {
      expect(/@sha256:[0-9a-f]{64}$/.test(image), `images.${name}`, image, 'a digest (NAME@sha256:...)');
    }
  }
  if (wrong.length > 0) throw new Error(`This environment cannot be:\n${wrong.map((line) => `  ${line}`).join('\n')}`);
}
