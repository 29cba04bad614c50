/** The programs' variables on one machine: what the caller's environment gives, embedded defaults for the rest. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VariableName } from '#shared/settings.ts';
import type { Ports } from './ports.ts';

export interface Secrets {
  accessKey: string;
  secretKey: string;
  signing: string;
}

/** Made once for a data folder, readable by its owner alone. */
export function readSecrets(data: string): Secrets {
  const file = join(data, 'secrets.json');
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw new Error(`Expected JSON in ${file}.`, { cause });
    const make = (bytes: number) => randomBytes(bytes).toString('hex');
    const secrets = { accessKey: make(10).toUpperCase(), secretKey: make(20), signing: make(32) };
    writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 });
    return secrets;
  }
}

/** Which parts are the embedded ones: those for which the caller names no other. */
export const embedded = (given: NodeJS.ProcessEnv) => ({
  s3: !given.AWS_ENDPOINT_URL_S3,
  sqs: !given.AWS_ENDPOINT_URL_SQS,
  postgres: !given.DATABASE_URL,
});

type Environment = NodeJS.ProcessEnv & Partial<Record<VariableName, string>>;

/**
 * What every program gets; each reads its own part. A variable that is given wins, except the ports. The queues' URLs are
 * those of the embedded server unless given.
 */
export function composeEnvironment({
  given,
  ports,
  data,
  root,
  secrets,
  databaseUrl,
}: {
  given: NodeJS.ProcessEnv;
  ports: Ports;
  data: string;
  root: string;
  secrets: Secrets;
  databaseUrl: string;
}): Environment {
  const aws = `http://127.0.0.1:${ports.aws}`;
  const ours: Environment = {
    DATABASE_URL: databaseUrl,
    BUCKET: 'ai-teacher',
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL_S3: aws,
    AWS_ENDPOINT_URL_SQS: aws,
    UPLOADS_QUEUE_URL: `${aws}/000000000000/uploads`,
    TRAINING_QUEUE_URL: `${aws}/000000000000/training`,
    STUDIO_URL: `http://localhost:${ports.studio}`,
    EXPORT_URL: `http://localhost:${ports.export}`,
    PREDICT_URL: `http://localhost:${ports.predict}`,
    SIGNING_SECRET: secrets.signing,
    PYTHON: join(root, '.venv/bin/python'),
    MODEL_CACHE: join(root, '.data/models'),
    // Elsewhere than the embedded server the caller's own credentials count.
    ...(embedded(given).s3 && embedded(given).sqs
      ? { AWS_ACCESS_KEY_ID: secrets.accessKey, AWS_SECRET_ACCESS_KEY: secrets.secretKey, AWS_SESSION_TOKEN: '' }
      : {}),
  };
  const own = Object.keys(ours).filter(
    (name) => given[name] && !name.startsWith('AWS_ACCESS') && !name.startsWith('AWS_SECRET'),
  );
  const kept = Object.fromEntries(own.map((name) => [name, given[name]]));
  return { ...given, ...ours, ...kept, SCRATCH: given.SCRATCH ?? join(data, 'scratch') };
}

/** `environment` with the port of one program. */
export const withPort = (environment: Environment, port: number): Environment => ({
  ...environment,
  PORT: String(port),
});
