import { setTimeout as sleep } from 'node:timers/promises';
import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import type { Log } from '#shared/log.ts';

/** Thrown by a handler whose message is to come again soon though nothing went wrong: work that is handed over. */
export class HandOver extends Error {}

/**
 * Thrown by a handler that this worker's own trouble keeps from working, about which `check` will say the same. A fresh message
 * takes the place of its own, so that no outage, however often it comes, uses up the receives of one.
 */
export class Outage extends Error {}

/** Until an outage may be over. */
const outageSeconds = 5;

interface Consuming {
  sqs: SQSClient;
  queueUrl: string;
  /** Messages at work at once. */
  concurrency: number;
  /** How long a message stays hidden if this worker dies; said anew every third of it while the handler is at work. */
  visibilitySeconds: number;
  stopping: AbortSignal;
  log: Log;
  /**
   * Rejects while handlers cannot work. Asked after a message failed, before the next ones are taken: an outage must not use up
   * the receives after which a message goes to the dead-letter queue.
   */
  check: () => Promise<unknown>;
  /** Resolves: the message is done and deleted. Throws: it comes again, and to the dead-letter queue in the end. */
  handle: (body: string) => Promise<void>;
}

/** Takes messages until `stopping`, then waits for those at work, and resolves. A queue out of reach is tried again for ever. */
export async function consume({ concurrency, stopping, check, ...consuming }: Consuming): Promise<void> {
  const { sqs, queueUrl, visibilitySeconds, log } = consuming;
  const atWork = new Set<Promise<void>>();
  let doubtful = false;
  for (let pause = 0; !stopping.aborted; ) {
    if (atWork.size >= concurrency) {
      await Promise.race(atWork);
      continue;
    }
    try {
      if (doubtful) await check();
      doubtful = false;
      const { Messages = [] } = await sqs.send(
        new ReceiveMessageCommand({
          QueueUrl: queueUrl,
          MaxNumberOfMessages: Math.min(10, concurrency - atWork.size),
          WaitTimeSeconds: 20,
          VisibilityTimeout: visibilitySeconds,
          MessageSystemAttributeNames: ['ApproximateReceiveCount'],
        }),
        { abortSignal: stopping },
      );
      pause = 0;
      for (const message of Messages) {
        const work: Promise<void> = workOn(message, consuming).then((well) => {
          doubtful ||= !well;
          atWork.delete(work);
        });
        atWork.add(work);
      }
    } catch (error) {
      if (stopping.aborted) break;
      pause = Math.min(30, pause * 2 || 0.5);
      const why = error instanceof Outage ? 'no work is taken' : 'queue, Postgres or bucket is out of reach';
      log.warn({ err: error, queue: queueUrl, seconds: pause }, why);
      const milliseconds = pause * 1000 * (0.5 + Math.random());
      await sleep(milliseconds, undefined, { signal: stopping }).catch(() => {});
    }
  }
  await Promise.all(atWork);
}

type Working = Omit<Consuming, 'concurrency' | 'stopping' | 'check'>;

/** @returns whether it went well. */
async function workOn(message: Message, { sqs, queueUrl, visibilitySeconds, log, handle }: Working): Promise<boolean> {
  const handleOf = { QueueUrl: queueUrl, ReceiptHandle: message.ReceiptHandle! };
  const hide = (seconds: number) =>
    sqs
      .send(new ChangeMessageVisibilityCommand({ ...handleOf, VisibilityTimeout: seconds }))
      .catch((error) => log.warn({ err: error }, 'could not change how long a message is hidden'));
  const replace = async () => {
    const fresh = { QueueUrl: queueUrl, MessageBody: message.Body ?? '', DelaySeconds: outageSeconds };
    await sqs.send(new SendMessageCommand(fresh));
    await sqs.send(new DeleteMessageCommand(handleOf));
    return true;
  };
  const heartbeat = setInterval(() => hide(visibilitySeconds), (visibilitySeconds * 1000) / 3);
  try {
    await handle(message.Body ?? '');
    clearInterval(heartbeat);
    // If this fails the message comes again: every handler can be given the same one twice.
    await sqs.send(new DeleteMessageCommand(handleOf));
    return true;
  } catch (error) {
    clearInterval(heartbeat);
    const receives = Number(message.Attributes?.ApproximateReceiveCount ?? 1);
    if (error instanceof HandOver) {
      log.info({ reason: error.message }, 'message handed over');
      await hide(0);
    } else if (error instanceof Outage && (await replace().catch(() => false))) {
      log.error({ err: error, body: message.Body?.slice(0, 500) }, 'message waits until this worker can work again');
    } else {
      log.error({ err: error, receives, body: message.Body?.slice(0, 500) }, 'message failed and comes again');
      await hide(Math.min(60, 2 ** receives));
    }
    return false;
  }
}
