/** What stands in for AWS on a plain cluster: Postgres, the S3 and SQS server, and the job that makes their secrets. */
import { Chart } from 'cdk8s';
import { k8s } from 'cdk8s-plus-27';
import type { Construct } from 'constructs';
import { awsVariables } from '../../local/aws.ts';
import type { Environment, OnOneNode } from '../environment.ts';
import { addJob } from '../objects/jobs.ts';
import { allowEgress, allowIngress, anywhere, namespace, pods } from '../objects/network.ts';
import { container, labelsOf, podSpec, selectorOf, sizeOf } from '../objects/pods.ts';
import { addServiceAccount } from '../objects/service-account.ts';
import { embeddedAws, secretName } from '../objects/variables.ts';
import type { Size } from '../programs.ts';
import { embeddedSize, sizeIn } from '../sizes.ts';

export class Embedded extends Chart {
  private readonly size: Size;

  constructor(scope: Construct, id: string, environment: Environment & OnOneNode) {
    super(scope, id, { namespace: environment.namespace, disableResourceNameHashes: true });
    const { image, port } = environment.embedded;
    this.size = sizeIn(environment, embeddedSize);
    this.addSecretsJob(image);

    this.addServer('postgres', 5432, {
      image,
      command: ['sh', 'postgres.sh'],
      env: [
        { name: 'PGDATA', value: '/data/postgres' },
        { name: 'POSTGRES_PASSWORD', valueFrom: { secretKeyRef: { name: secretName, key: 'POSTGRES_PASSWORD' } } },
      ],
    });
    allowIngress(this, 'to-postgres-pods', {
      of: selectorOf('postgres'),
      peers: [pods({ 'reaches-postgres': 'true' })],
      ports: [5432],
    });

    const { service, port: inside } = embeddedAws;
    this.addServer(
      service,
      inside,
      {
        image,
        command: ['python', '-m', 'ministack'],
        env: [
          ...Object.entries(awsVariables({ host: '0.0.0.0', port: inside, folder: '/data' })).map(([key, value]) => ({
            name: key,
            value,
          })),
          ...['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'].map((key) => ({
            name: key,
            valueFrom: { secretKeyRef: { name: secretName, key } },
          })),
        ],
      },
      port,
    );
    allowIngress(this, 'to-aws-pods', {
      of: selectorOf(service),
      // Browsers bring their pictures straight here, through the node's port; KEDA asks for the queues' length.
      peers: [pods({ 'reaches-aws': 'true' }), namespace('keda'), anywhere([])],
      ports: [inside],
    });
  }

  /** A server with a volume: one pod, at its name; at a port of the node too, where browsers come. */
  private addServer(
    name: string,
    port: number,
    rest: Pick<k8s.Container, 'image' | 'command' | 'env'>,
    nodePort?: number,
  ): void {
    const service = (serviceName: string, spec: Partial<k8s.ServiceSpec>, ofNode?: { nodePort: number }) =>
      new k8s.KubeService(this, `${serviceName}-service`, {
        metadata: { name: serviceName },
        spec: {
          selector: selectorOf(name),
          ports: [{ name, port, targetPort: k8s.IntOrString.fromNumber(port), ...ofNode }],
          ...spec,
        },
      });
    service(name, { clusterIp: 'None' });
    if (nodePort) service(`${name}-browsers`, { type: 'NodePort' }, { nodePort });
    new k8s.KubeStatefulSet(this, name, {
      metadata: { name },
      spec: {
        serviceName: name,
        replicas: 1,
        selector: { matchLabels: selectorOf(name) },
        template: {
          metadata: { labels: selectorOf(name) },
          spec: podSpec({
            serviceAccount: 'default',
            containers: [
              container({
                name,
                resources: sizeOf(this.size),
                ports: [{ name, containerPort: port }],
                volumeMounts: [
                  { name: 'data', mountPath: '/data' },
                  { name: 'tmp', mountPath: '/tmp' },
                ],
                // No liveness probe: it would end a Postgres that is recovering.
                readinessProbe: { tcpSocket: { port: k8s.IntOrString.fromNumber(port) }, periodSeconds: 5 },
                ...rest,
              }),
            ],
            rest: { volumes: [{ name: 'tmp', emptyDir: { sizeLimit: k8s.Quantity.fromString('1Gi') } }] },
          }),
        },
        volumeClaimTemplates: [
          {
            metadata: { name: 'data' },
            spec: {
              accessModes: ['ReadWriteOnce'],
              resources: { requests: { storage: k8s.Quantity.fromString('10Gi') } },
            },
          },
        ],
      },
    });
  }

  /** The one pod with a token: it may create Secrets here, not read them. */
  private addSecretsJob(image: string): void {
    const name = 'secrets';
    addServiceAccount(this, name);
    new k8s.KubeRole(this, `${name}-role`, {
      metadata: { name },
      rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['create'] }],
    });
    new k8s.KubeRoleBinding(this, `${name}-binding`, {
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace: this.namespace! }],
    });
    addJob(this, {
      name,
      labels: labelsOf(name, ['kubernetes']),
      seconds: 300,
      pod: podSpec({
        serviceAccount: name,
        containers: [
          container({
            name,
            image,
            command: ['node', 'infra/images/embedded/secrets.js'],
            resources: sizeOf(this.size),
            env: [{ name: 'NODE_EXTRA_CA_CERTS', value: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt' }],
          }),
        ],
        rest: { automountServiceAccountToken: true },
      }),
    });
    // The API server is no pod that a policy could name.
    allowEgress(this, 'to-kubernetes', {
      of: { 'reaches-kubernetes': 'true' },
      peers: [anywhere(['169.254.0.0/16'])],
      ports: [443, 6443],
    });
  }
}
