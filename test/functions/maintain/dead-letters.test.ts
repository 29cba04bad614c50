/** A person looks at what could not be worked on, and puts it back. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { GetQueueAttributesCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../../support/bucket.ts';

let aws: TestBucketAndQueues;
beforeAll(async () => {
  aws = await startTestBucketAndQueues();
});
afterAll(() => aws?.close());

const command = async (word: string): Promise<string[]> => {
  const env = {
    ...process.env,
    ...aws.settings,
    DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
  } as NodeJS.ProcessEnv;
  const { stdout } = await promisify(execFile)(process.execPath, ['functions/maintain/dead-letters.ts', word], { env });
  return stdout.split('\n').filter(Boolean);
};

test('dead letters are replayed to their own queue, once', async () => {
  const { UPLOADS_QUEUE_URL: uploads, TRAINING_QUEUE_URL: training } = aws.settings;
  await aws.drain(uploads);
  await aws.sqs.send(new SendMessageCommand({ QueueUrl: `${training}-dead`, MessageBody: '{"dead":1}' }));
  const replayed = await command('replay');
  expect(replayed.map((line) => JSON.parse(line).body)).toEqual(['{"dead":1}']);
  expect(await aws.drain(training)).toEqual([{ dead: 1 }]);
  expect(await aws.drain(`${training}-dead`)).toEqual([]);
  expect(await aws.drain(uploads)).toEqual([]);
});

test('showing them leaves them there', async () => {
  const dead = `${aws.settings.UPLOADS_QUEUE_URL}-dead`;
  await aws.sqs.send(new SendMessageCommand({ QueueUrl: dead, MessageBody: '{"dead":2}' }));
  expect((await command('show')).map((line) => JSON.parse(line).body)).toEqual(['{"dead":2}']);
  const attributes = await aws.sqs.send(
    new GetQueueAttributesCommand({ QueueUrl: dead, AttributeNames: ['ApproximateNumberOfMessagesNotVisible'] }),
  );
  expect(attributes.Attributes).toEqual({ ApproximateNumberOfMessagesNotVisible: '1' });
});
