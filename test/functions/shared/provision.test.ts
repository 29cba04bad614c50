import {
  GetBucketCorsCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketNotificationConfigurationCommand,
} from '@aws-sdk/client-s3';
import { GetQueueAttributesCommand, ReceiveMessageCommand } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { provisionBucket } from '../../../functions/provision/bucket.ts';
import { provisionQueues } from '../../../functions/provision/queues.ts';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../../support/bucket.ts';

let aws: TestBucketAndQueues;
beforeAll(async () => {
  aws = await startTestBucketAndQueues();
});
afterAll(() => aws.close());

async function state() {
  const { s3, sqs, settings } = aws;
  const Bucket = { Bucket: settings.BUCKET };
  const attributes = async (QueueUrl: string) => {
    const { Attributes = {} } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] }));
    const { RedrivePolicy, VisibilityTimeout, MessageRetentionPeriod, Policy } = Attributes;
    return {
      RedrivePolicy: RedrivePolicy && JSON.parse(RedrivePolicy),
      VisibilityTimeout,
      MessageRetentionPeriod,
      Policy: Policy && JSON.parse(Policy),
    };
  };
  return {
    cors: (await s3.send(new GetBucketCorsCommand(Bucket))).CORSRules,
    lifecycle: (await s3.send(new GetBucketLifecycleConfigurationCommand(Bucket))).Rules,
    notification: (await s3.send(new GetBucketNotificationConfigurationCommand(Bucket))).QueueConfigurations,
    uploads: await attributes(settings.UPLOADS_QUEUE_URL),
    training: await attributes(settings.TRAINING_QUEUE_URL),
    dead: await attributes(`${settings.UPLOADS_QUEUE_URL}-dead`),
  };
}

test('provisioned again nothing changes, and nothing that was there is lost', async () => {
  const before = await state();
  await aws.bucket.put('thumbnails/kept', Buffer.from('x'), 'x/y');
  await aws.queues.sendTraining({ projectId: '5f0c9f8e-53cf-4d54-9d5e-0d8ea6a2a8a1' });
  const { uploads } = await provisionQueues(aws.sqs, aws.settings);
  await provisionBucket(aws.s3, { ...aws.settings, uploadsQueueArn: uploads });
  expect(await state()).toEqual(before);
  expect(await aws.bucket.head('thumbnails/kept')).not.toBeNull();
  expect(await aws.drain(aws.settings.TRAINING_QUEUE_URL)).toHaveLength(1);

  expect(before.uploads.RedrivePolicy).toMatchObject({ deadLetterTargetArn: expect.stringMatching(/:uploads-dead$/) });
  expect(Number(before.uploads.RedrivePolicy.maxReceiveCount)).toBe(5);
  expect(before.dead.MessageRetentionPeriod).toBe(String(14 * 24 * 3600));
  expect(before.cors).toEqual([expect.objectContaining({ AllowedOrigins: ['http://localhost:8080'] })]);
  expect(before.notification).toHaveLength(1);
});

test('another studio’s address replaces the old one', async () => {
  const { uploads } = await provisionQueues(aws.sqs, aws.settings);
  await provisionBucket(aws.s3, {
    ...aws.settings,
    STUDIO_URL: 'https://school.example/studio',
    uploadsQueueArn: uploads,
  });
  expect((await state()).cors?.[0]?.AllowedOrigins).toEqual(['https://school.example']);
});

test('a message that is received five times goes to the dead-letter queue', async () => {
  const { sqs, settings, drain } = aws;
  await aws.queues.sendTraining({ projectId: '00000000-0000-4000-8000-000000000000' });
  const receive = async () =>
    (await sqs.send(new ReceiveMessageCommand({ QueueUrl: settings.TRAINING_QUEUE_URL, VisibilityTimeout: 0 })))
      .Messages ?? [];
  for (let times = 0; times < 5; times++) expect(await receive(), `receive ${times}`).toHaveLength(1);
  expect(await receive()).toHaveLength(0);
  expect(await drain(`${settings.TRAINING_QUEUE_URL}-dead`)).toEqual([
    { projectId: '00000000-0000-4000-8000-000000000000' },
  ]);
});
