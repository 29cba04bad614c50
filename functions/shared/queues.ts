/** The two queues and the messages on them. This module sends; trainer/consume.ts receives. */
import type { SQSClient } from '@aws-sdk/client-sqs';
import { z } from 'zod';
import { createdEvent } from './events.ts';
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
  /** Only change-project.ts calls it. @param delaySeconds whole seconds, at most 900. */
  sendTraining: (message: TrainingMessage, delaySeconds?: number) => Promise<void>;
  /** Sends the event that S3 would have sent for an object, whose own event never came. */
  sendUpload: (object: { bucket: string; key: string; etag: string; bytes: number }) => Promise<void>;
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
  const send = async (QueueUrl: string, body: unknown, DelaySeconds?: number) => {
    const { sdk, sqs } = await load();
    await sqs.send(new sdk.SendMessageCommand({ QueueUrl, MessageBody: JSON.stringify(body), DelaySeconds }));
  };
  return {
    sendTraining: (message, delaySeconds) => send(settings.TRAINING_QUEUE_URL, message, delaySeconds),
    sendUpload: (object) => send(settings.UPLOADS_QUEUE_URL, createdEvent(object)),
    client: async () => (await load()).sqs,
    close: async () => (await loaded)?.sqs.destroy(),
  };
}
