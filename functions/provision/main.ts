/** The provision Job: makes the bucket and the queues what this version expects, and ends. Running it again changes nothing. */
import { S3Client } from '@aws-sdk/client-s3';
import { SQSClient } from '@aws-sdk/client-sqs';
import { start } from '#shared/start.ts';
import { provisionBucket } from './bucket.ts';
import { provisionQueues } from './queues.ts';

await start('provision', async ({ settings, log, opened }) => {
  const region = settings.AWS_REGION;
  const sqs = new SQSClient({ region });
  opened.defer(() => sqs.destroy());
  const s3 = new S3Client({ region, forcePathStyle: settings.AWS_ENDPOINT_URL_S3 !== undefined });
  opened.defer(() => s3.destroy());

  const queues = await provisionQueues(sqs, settings);
  log.info(queues, 'queues are there');
  await provisionBucket(s3, { ...settings, uploadsQueueArn: queues.uploads });
  log.info({ bucket: settings.BUCKET }, 'the bucket is there and tells the uploads queue');
});
