/** The programs' variables as their manifests give them. */
import { type Program, programs, type VariableName, variables } from '#shared/settings.ts';
import type { Environment } from '../environment.ts';
import { resources } from '../permissions.ts';

/** The one Secret: made by External Secrets from Secrets Manager, or by the job `secrets`. */
export const secretName = 'ai-teacher';

/** Name and port of the embedded S3 and SQS server in the cluster. */
export const embeddedAws = { service: 'aws', port: 4566 };

/** An environment variable in the form that both Knative's and Kubernetes's types take. */
export interface EnvironmentVariable {
  name: string;
  value?: string;
  valueFrom?: { secretKeyRef: { name: string; key: string } };
}

const fromSecret = (name: string): EnvironmentVariable => ({
  name,
  valueFrom: { secretKeyRef: { name: secretName, key: name } },
});

/** Where bucket and queues are: what the programs get, and KEDA. */
export function addressesOf(environment: Environment): Partial<Record<VariableName, string>> {
  if (environment.aws) {
    const { uploads, training } = resources(environment.aws);
    return {
      BUCKET: environment.aws.bucket,
      AWS_REGION: environment.aws.region,
      UPLOADS_QUEUE_URL: uploads.url,
      TRAINING_QUEUE_URL: training.url,
    };
  }
  // With its namespace: KEDA reads the same URL from a namespace of its own.
  const endpoint = `http://${embeddedAws.service}.${environment.namespace}.svc:${embeddedAws.port}`;
  return {
    BUCKET: 'ai-teacher',
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_ENDPOINT_URL_SQS: endpoint,
    UPLOADS_QUEUE_URL: `${endpoint}/000000000000/uploads`,
    TRAINING_QUEUE_URL: `${endpoint}/000000000000/training`,
    BUCKET_ENDPOINT_URL: `http://${environment.embedded.address}:${environment.embedded.port}`,
  };
}

/** What `program` takes and has no default or another value, in the order of its settings. */
export function variablesOf(
  program: Program,
  environment: Environment,
  own: Partial<Record<VariableName, string>> = {},
): EnvironmentVariable[] {
  const values: Partial<Record<VariableName, string>> = {
    ...addressesOf(environment),
    STUDIO_URL: environment.urls.studio,
    EXPORT_URL: environment.urls.export,
    PREDICT_URL: environment.urls.predict,
    TRUSTED_PROXIES: String(environment.gateway.proxies),
    ...own,
    ...environment.variables,
  };
  const names = new Set<VariableName>(programs[program]);
  const given = [...names].flatMap((name): EnvironmentVariable[] => {
    if ('secret' in variables[name]) return [fromSecret(name)];
    const value = values[name];
    return value === undefined ? [] : [{ name, value }];
  });
  // On AWS the pod identity webhook gives each service account a role of its own instead.
  const keys = environment.embedded && names.has('AWS_REGION') ? ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] : [];
  return [...given, ...keys.map(fromSecret)];
}
