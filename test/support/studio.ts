/** The studio's app on a real Postgres, asked without a port. */
import { pino } from 'pino';
import { createBucket } from '#shared/bucket.ts';
import { createQueues } from '#shared/queues.ts';
import { readSettings } from '#shared/settings.ts';
import { createStudio } from '../../functions/studio/app.ts';
import { createTestDatabase } from './postgres.ts';

/** Where nobody listens: a call to it fails at once. */
const nowhere = 'http://127.0.0.1:1';

export interface Asked {
  key?: string;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Created {
  id: string;
  key: string;
  name: string;
  classes: { id: string; name: string }[];
}

/**
 * @param environment of the studio, over what a test needs; bucket and queues are out of reach unless it names them.
 * @param page folder of a built page.
 */
export async function createTestStudio(environment: Record<string, string | undefined> = {}, page = 'dist/web') {
  const postgres = await createTestDatabase();
  const settings = readSettings('studio', {
    DATABASE_URL: postgres.url,
    BUCKET: 'ai-teacher-test',
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL_S3: nowhere,
    AWS_ENDPOINT_URL_SQS: nowhere,
    UPLOADS_QUEUE_URL: `${nowhere}/000000000000/uploads`,
    TRAINING_QUEUE_URL: `${nowhere}/000000000000/training`,
    STUDIO_URL: 'http://localhost:8080',
    EXPORT_URL: 'http://localhost:8081',
    PREDICT_URL: 'http://localhost:8082',
    SIGNING_SECRET: 'x'.repeat(32),
    TRUSTED_PROXIES: '1',
    ...environment,
  });
  // The SDK reads them itself, as it does in the cluster.
  const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  Object.assign(process.env, credentials, { AWS_ENDPOINT_URL_SQS: settings.AWS_ENDPOINT_URL_SQS });
  const bucket = createBucket(settings);
  const queues = createQueues(settings);
  const log = pino({ level: 'silent' });
  const app = createStudio({ db: postgres.db, bucket, queues, settings, log }, page);

  /** A call; a body that is text is sent as it is. */
  const ask = async (method: string, path: string, { key, body, headers }: Asked = {}): Promise<Response> =>
    app.request(path, {
      method,
      headers: {
        ...(key && { Authorization: `Bearer ${key}` }),
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  const create = async (classes = ['cat', 'dog'], asked: Asked = {}): Promise<Created> => {
    const answer = await ask('POST', '/api/projects', { ...asked, body: { name: 'Pets', classes } });
    if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
    return (await answer.json()) as Created;
  };
  const close = async () => {
    await Promise.all([bucket.close(), queues.close()]);
    await postgres.close();
  };
  return { app, ask, create, postgres, settings, close };
}

export type TestStudio = Awaited<ReturnType<typeof createTestStudio>>;
