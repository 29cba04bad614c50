import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  QueueDoesNotExist,
  SetQueueAttributesCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import type { SettingsOf } from '#shared/settings.ts';

/** Receives until a message moves to the dead-letter queue: a spot node that goes away counts as one. */
const maxReceiveCount = 5;
const days = 24 * 3600;

const nameOf = (queueUrl: string): string => new URL(queueUrl).pathname.split('/').at(-1)!;
/** The dead-letter queue stands beside its queue. */
const deadUrl = (queueUrl: string): string => `${queueUrl}-dead`;

/**
 * Creates the two queues and their dead-letter queues, or brings those that exist to the same attributes.
 *
 * @returns the ARN of each queue that messages are sent to.
 */
export async function provisionQueues(
  sqs: SQSClient,
  settings: SettingsOf<'UPLOADS_QUEUE_URL' | 'TRAINING_QUEUE_URL' | 'BUCKET'>,
): Promise<{ uploads: string; training: string }> {
  return {
    uploads: await provisionQueue(sqs, settings.UPLOADS_QUEUE_URL, { sender: settings.BUCKET }),
    training: await provisionQueue(sqs, settings.TRAINING_QUEUE_URL),
  };
}

async function provisionQueue(sqs: SQSClient, url: string, { sender }: { sender?: string } = {}): Promise<string> {
  const deadArn = await ensureQueue(sqs, deadUrl(url), () => ({ MessageRetentionPeriod: `${14 * days}` }));
  return await ensureQueue(sqs, url, (arn) => ({
    MessageRetentionPeriod: `${4 * days}`,
    // Long enough for a worker to say that it is still at work, which it does every third of this.
    VisibilityTimeout: '30',
    RedrivePolicy: JSON.stringify({ deadLetterTargetArn: deadArn, maxReceiveCount }),
    ...(sender && { Policy: JSON.stringify(bucketMaySend(arn, sender)) }),
  }));
}

/** Creates the queue when it is missing and sets its attributes, which depend on its own ARN; gives the ARN. */
async function ensureQueue(
  sqs: SQSClient,
  QueueUrl: string,
  attributes: (arn: string) => Record<string, string>,
): Promise<string> {
  const arnOf = async () => {
    const answer = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['QueueArn'] }));
    return answer.Attributes!.QueueArn!;
  };
  const arn = await arnOf().catch(async (error) => {
    if (!(error instanceof QueueDoesNotExist) && !/NonExistentQueue|does not exist/.test(`${error}`)) throw error;
    const created = await sqs.send(new CreateQueueCommand({ QueueName: nameOf(QueueUrl) }));
    if (nameOf(created.QueueUrl!) !== nameOf(QueueUrl)) {
      throw new Error(
        `Expected the queue at ${QueueUrl}, but SQS made it at ${created.QueueUrl}: correct the variable.`,
      );
    }
    return await arnOf();
  });
  await sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: attributes(arn) }));
  return arn;
}

/** S3 tests the permission when it is told of the queue: this has to be there first. Both conditions stop a confused deputy. */
function bucketMaySend(queueArn: string, bucket: string): object {
  const account = queueArn.split(':')[4];
  return {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { Service: 's3.amazonaws.com' },
        Action: 'sqs:SendMessage',
        Resource: queueArn,
        Condition: {
          ArnEquals: { 'aws:SourceArn': `arn:aws:s3:::${bucket}` },
          StringEquals: { 'aws:SourceAccount': account },
        },
      },
    ],
  };
}
