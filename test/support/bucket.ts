/** A real S3 and SQS server for a test file, provisioned by the same code as the cluster's. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { S3Client } from '@aws-sdk/client-s3';
import { DeleteMessageCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { type Bucket, createBucket } from '#shared/bucket.ts';
import { createQueues, type Queues } from '#shared/queues.ts';
import { provisionBucket } from '../../functions/provision/bucket.ts';
import { provisionQueues } from '../../functions/provision/queues.ts';
import { freePort } from './ports.ts';
import { python } from './python.ts';

export interface TestBucketAndQueues {
  bucket: Bucket;
  queues: Queues;
  s3: S3Client;
  sqs: SQSClient;
  /** As the programs take them from the environment. */
  settings: {
    BUCKET: string;
    AWS_REGION: string;
    AWS_ENDPOINT_URL_S3: string;
    AWS_ENDPOINT_URL_SQS: string;
    BUCKET_ENDPOINT_URL: undefined;
    UPLOADS_QUEUE_URL: string;
    TRAINING_QUEUE_URL: string;
    STUDIO_URL: string;
  };
  /** Takes every message that is on a queue now, as parsed JSON. */
  drain: (queueUrl: string) => Promise<unknown[]>;
  close: () => Promise<void>;
}

/** Starts the embedded server on a free port and makes the bucket, the queues and the notification. */
export async function startTestBucketAndQueues(services = 's3,sqs'): Promise<TestBucketAndQueues> {
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const folder = mkdtempSync(join(tmpdir(), 'ai-teacher-bucket-'));
  const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  // The SDK reads them itself, as it does in the cluster.
  Object.assign(process.env, credentials, { AWS_ENDPOINT_URL_S3: endpoint, AWS_ENDPOINT_URL_SQS: endpoint });
  const child = spawn(python, ['-m', 'ministack'], {
    stdio: 'ignore',
    env: {
      ...process.env,
      AUTH: 'true',
      BIND_HOST: '127.0.0.1',
      GATEWAY_PORT: String(port),
      SERVICES: services,
      S3_PERSIST: '1',
      S3_DATA_DIR: join(folder, 's3'),
      STATE_DIR: join(folder, 'state'),
      LOG_LEVEL: 'ERROR',
    },
  });
  const end = () => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once('exit', end);
  for (const end = Date.now() + 30_000; ; ) {
    if (
      await fetch(`${endpoint}/health`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      break;
    if (child.exitCode !== null || Date.now() > end) throw new Error(`${python} -m ministack did not start.`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }

  const settings = {
    BUCKET: 'ai-teacher-test',
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_ENDPOINT_URL_SQS: endpoint,
    BUCKET_ENDPOINT_URL: undefined,
    UPLOADS_QUEUE_URL: `${endpoint}/000000000000/uploads`,
    TRAINING_QUEUE_URL: `${endpoint}/000000000000/training`,
    STUDIO_URL: 'http://localhost:8080',
  };
  const s3 = new S3Client({ region: settings.AWS_REGION, forcePathStyle: true });
  const sqs = new SQSClient({ region: settings.AWS_REGION });
  const { uploads } = await provisionQueues(sqs, settings);
  await provisionBucket(s3, { ...settings, uploadsQueueArn: uploads });
  const bucket = createBucket(settings);
  const queues = createQueues(settings);
  return {
    bucket,
    queues,
    s3,
    sqs,
    settings,
    drain: async (QueueUrl) => {
      const bodies: unknown[] = [];
      for (;;) {
        const { Messages = [] } = await sqs.send(
          new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 0 }),
        );
        if (Messages.length === 0) return bodies;
        for (const { Body, ReceiptHandle } of Messages) {
          bodies.push(JSON.parse(Body!));
          await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: ReceiptHandle! }));
        }
      }
    },
    close: async () => {
      await Promise.all([bucket.close(), queues.close()]);
      s3.destroy();
      sqs.destroy();
      process.removeListener('exit', end);
      end();
    },
  };
}
