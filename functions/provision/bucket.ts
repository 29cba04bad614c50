import {
  type BucketLocationConstraint,
  CreateBucketCommand,
  HeadBucketCommand,
  PutBucketCorsCommand,
  PutBucketEncryptionCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketNotificationConfigurationCommand,
  PutPublicAccessBlockCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { uploadsPrefix } from '#shared/keys.ts';
import type { SettingsOf } from '#shared/settings.ts';

type BucketSettings = SettingsOf<'BUCKET' | 'AWS_REGION' | 'STUDIO_URL'> & { uploadsQueueArn: string };

/** Creates the bucket or brings the one that exists to the same state: closed to the public, open to the studio's page alone. */
export async function provisionBucket(
  s3: S3Client,
  { BUCKET: Bucket, AWS_REGION, STUDIO_URL, uploadsQueueArn }: BucketSettings,
): Promise<void> {
  await s3.send(new HeadBucketCommand({ Bucket })).catch(async (error) => {
    if (error?.$metadata?.httpStatusCode !== 404) throw error;
    // us-east-1 is the one region that S3 does not take as a location.
    const place = { LocationConstraint: AWS_REGION as BucketLocationConstraint };
    await s3.send(
      new CreateBucketCommand({ Bucket, ...(AWS_REGION !== 'us-east-1' && { CreateBucketConfiguration: place }) }),
    );
  });
  const closed = {
    BlockPublicAcls: true,
    BlockPublicPolicy: true,
    IgnorePublicAcls: true,
    RestrictPublicBuckets: true,
  };
  await s3.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration: closed }));
  await s3.send(
    new PutBucketEncryptionCommand({
      Bucket,
      ServerSideEncryptionConfiguration: {
        Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }],
      },
    }),
  );
  await s3.send(
    new PutBucketCorsCommand({
      Bucket,
      CORSConfiguration: {
        CORSRules: [
          {
            AllowedOrigins: [new URL(STUDIO_URL).origin],
            AllowedMethods: ['POST', 'GET', 'HEAD'],
            AllowedHeaders: ['*'],
            ExposeHeaders: ['ETag'],
            MaxAgeSeconds: 3600,
          },
        ],
      },
    }),
  );
  await s3.send(
    new PutBucketLifecycleConfigurationCommand({
      Bucket,
      LifecycleConfiguration: {
        Rules: [
          {
            ID: 'unfinished-uploads',
            Status: 'Enabled',
            Filter: { Prefix: '' },
            AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 },
          },
          {
            ID: 'old-versions',
            Status: 'Enabled',
            Filter: { Prefix: '' },
            NoncurrentVersionExpiration: { NoncurrentDays: 1 },
          },
        ],
      },
    }),
  );
  await s3.send(
    new PutBucketNotificationConfigurationCommand({
      Bucket,
      NotificationConfiguration: {
        QueueConfigurations: [
          {
            Id: 'uploads',
            QueueArn: uploadsQueueArn,
            Events: ['s3:ObjectCreated:*', 's3:ObjectRemoved:*'],
            Filter: { Key: { FilterRules: [{ Name: 'prefix', Value: uploadsPrefix }] } },
          },
        ],
      },
    }),
  );
}
