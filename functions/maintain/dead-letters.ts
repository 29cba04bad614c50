/**
 * For a person: what is on the dead-letter queues, and the way back. With maintain's environment:
 * `node functions/maintain/dead-letters.ts show` prints each message as a line of JSON and leaves it where it is; `replay` puts
 * them back on their queues, once what kept them from being worked on is mended; `discard` deletes them.
 */
import { DeleteMessageCommand, ReceiveMessageCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { createQueues } from '#shared/queues.ts';
import { readSettings } from '#shared/settings.ts';

const words = ['show', 'replay', 'discard'] as const;
const word = words.find((one) => one === process.argv[2]);
if (!word) {
  process.stderr.write(`Say what to do with dead letters: ${words.join(', ')}.\n`);
  process.exit(2);
}
const settings = readSettings('maintain');
const queues = createQueues(settings);
const sqs = await queues.client();
for (const QueueUrl of [settings.UPLOADS_QUEUE_URL, settings.TRAINING_QUEUE_URL]) {
  const dead = `${QueueUrl}-dead`;
  for (;;) {
    // What was seen is hidden until all of it was: a message that is left there must not come twice.
    const seen = { QueueUrl: dead, MaxNumberOfMessages: 10, VisibilityTimeout: 60, WaitTimeSeconds: 1 };
    const { Messages = [] } = await sqs.send(new ReceiveMessageCommand(seen));
    if (Messages.length === 0) break;
    for (const { Body, MessageId, ReceiptHandle } of Messages) {
      process.stdout.write(`${JSON.stringify({ queue: dead, id: MessageId, body: Body })}\n`);
      if (word === 'replay') await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: Body! }));
      if (word !== 'show') await sqs.send(new DeleteMessageCommand({ QueueUrl: dead, ReceiptHandle: ReceiptHandle! }));
    }
  }
}
await queues.close();
