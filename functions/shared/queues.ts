/** The two queues and what goes through them. Only what is sent is here; the trainer's consume.ts takes. */
import type { SQSClient } from '@aws-sdk/client-sqs';
import { z } from 'zod';
import type { SettingsOf } from './settings.ts';

/** Asks the trainer to look at a project; with `runId`, at the run that a learner asked for. */
export interface TrainingMessage {
  projectId: string;
  runId?: string | undefined;
}

const trainingMessage = z.object({ projectId: z.uuid(), runId: z.uuid().optional() });

/** @throws Error when the body is no training message: it belongs on the dead-letter queue. */
export function parseTrainingMessage(body: string): TrainingMessage {
  try {
    return trainingMessage.parse(JSON.parse(body));
  } catch (cause) {
    throw new Error(`Expected {projectId, runId?} on the training queue, got: ${body.slice(0, 200)}`, { cause });
  }
}

export interface Queues {
  /** @param delaySeconds whole ones are sent, rounded up; SQS takes at most 900. */
  sendTraining: (message: TrainingMessage, delaySeconds?: number) => Promise<void>;
  /** An event on the `uploads` queue as S3 would have sent it, for an object whose own event never came. */
  sendUpload: (event: { bucket: string; key: string; etag: string; bytes: number }) => Promise<void>;
  client: () => Promise<SQSClient>;
  close: () => Promise<void>;
}

type QueueSettings = SettingsOf<'UPLOADS_QUEUE_URL' | 'TRAINING_QUEUE_URL' | 'AWS_REGION'>;

/** The SDK (which reads AWS_ENDPOINT_URL_SQS itself) is loaded with the first message, not with the program: cold starts. */
export function createQueues(settings: QueueSettings): Queues {
  let loaded: Promise<{ sdk: typeof import('@aws-sdk/client-sqs'); sqs: SQSClient }> | undefined;
  const load = () => {
    loaded ??= import('@aws-sdk/client-sqs').then((sdk) => ({
      sdk,
      sqs: new sdk.SQSClient({ region: settings.AWS_REGION, maxAttempts: 5 }),
    }));
    return loaded;
  };
  const send = async (QueueUrl: string, body: unknown, delaySeconds?: number) => {
    const { sdk, sqs } = await load();
    const DelaySeconds = delaySeconds === undefined ? undefined : Math.min(900, Math.ceil(delaySeconds));
    await sqs.send(new sdk.SendMessageCommand({ QueueUrl, MessageBody: JSON.stringify(body), DelaySeconds }));
  };
  return {
    sendTraining: (message, delaySeconds) => send(settings.TRAINING_QUEUE_URL, message, delaySeconds),
    sendUpload: ({ bucket, key, etag, bytes }) =>
      send(settings.UPLOADS_QUEUE_URL, {
        Records: [
          {
            eventVersion: '2.1',
            eventSource: 'ai-teacher:maintain',
            eventName: 'ObjectCreated:Post',
            s3: { bucket: { name: bucket }, object: { key: encodeKey(key), size: bytes, eTag: etag } },
          },
        ],
      }),
    client: async () => (await load()).sqs,
    close: async () => (await loaded)?.sqs.destroy(),
  };
}

const encodeKey = (key: string): string => encodeURIComponent(key).replaceAll('%2F', '/').replaceAll('%20', '+');
