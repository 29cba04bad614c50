/** External Secrets' objects, the fields in use (external-secrets.io/v1). */
import { ApiObject } from 'cdk8s';
import type { Construct } from 'constructs';

interface SecretStoreSpec {
  provider: { aws: { service: 'SecretsManager'; region: string } };
}

interface ExternalSecretSpec {
  refreshInterval: string;
  secretStoreRef: { kind: 'SecretStore'; name: string };
  target: { name: string; creationPolicy: 'Owner'; deletionPolicy: 'Retain' };
  data: { secretKey: string; remoteRef: { key: string; property: string } }[];
}

const apiVersion = 'external-secrets.io/v1';

export const addSecretStore = (scope: Construct, name: string, spec: SecretStoreSpec): ApiObject =>
  new ApiObject(scope, 'secret-store', { apiVersion, kind: 'SecretStore', metadata: { name }, spec });

export const addExternalSecret = (scope: Construct, name: string, spec: ExternalSecretSpec): ApiObject =>
  new ApiObject(scope, 'external-secret', { apiVersion, kind: 'ExternalSecret', metadata: { name }, spec });
