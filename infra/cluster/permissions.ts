/** Who may do what in AWS: the policies of the service accounts, least first. */
import type { OnAws } from './environment.ts';

interface Statement {
  Effect: 'Allow';
  Action: string[];
  Resource: string[];
}
export interface Policy {
  Version: '2012-10-17';
  Statement: Statement[];
}
interface Grant {
  namespace: string;
  serviceAccount: string;
  policy: Policy;
}

/** Names and ARNs of what the system has in AWS. */
export function resources({ account, region, bucket }: OnAws['aws']) {
  const url = (queue: string) => `https://sqs.${region}.amazonaws.com/${account}/${queue}`;
  const arn = (queue: string) => `arn:aws:sqs:${region}:${account}:${queue}`;
  return {
    uploads: { url: url('uploads'), arn: arn('uploads') },
    training: { url: url('training'), arn: arn('training') },
    deadLetters: [arn('uploads-dead'), arn('training-dead')],
    bucketArn: `arn:aws:s3:::${bucket}`,
  };
}

/** One grant for each service account that acts in AWS; export and predict have none. */
export function grants(aws: OnAws['aws'], namespace: string): Grant[] {
  const { uploads, training, deadLetters, bucketArn } = resources(aws);
  const queues = [uploads.arn, training.arn];
  const originals = `${bucketArn}/uploads/*`;
  const thumbnails = `${bucketArn}/thumbnails/*`;
  const allow = (Resource: string[], ...Action: string[]): Statement => ({ Effect: 'Allow', Action, Resource });
  const ours = (serviceAccount: string, ...Statement: Statement[]): Grant => ({
    namespace,
    serviceAccount,
    policy: { Version: '2012-10-17', Statement },
  });
  return [
    ours(
      'trainer',
      // Events too are sent anew, by a worker that cannot work (consume.ts, Outage).
      allow(queues, 'sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:ChangeMessageVisibility', 'sqs:SendMessage'),
      // What comes when its project is gone is deleted at once, heatmaps are drawn on thumbnails.
      allow([originals], 's3:GetObject', 's3:DeleteObject'),
      // Without it, S3 says 403 rather than 404 of an object that is gone.
      allow([bucketArn], 's3:ListBucket'),
      allow([thumbnails], 's3:GetObject', 's3:PutObject', 's3:DeleteObject'),
    ),
    ours(
      'studio',
      allow([originals], 's3:PutObject', 's3:DeleteObject'),
      allow([thumbnails], 's3:GetObject', 's3:DeleteObject'),
      allow([training.arn], 'sqs:SendMessage'),
    ),
    ours(
      'maintain',
      allow([bucketArn], 's3:ListBucket', 's3:ListBucketVersions'),
      allow([originals, thumbnails], 's3:GetObject', 's3:DeleteObject', 's3:DeleteObjectVersion'),
      allow(queues, 'sqs:SendMessage'),
    ),
    ours(
      'provision',
      allow(
        [bucketArn],
        's3:CreateBucket',
        's3:ListBucket',
        's3:PutBucketPublicAccessBlock',
        's3:PutEncryptionConfiguration',
        's3:PutBucketCORS',
        's3:PutLifecycleConfiguration',
        's3:PutBucketNotification',
      ),
      allow([...queues, ...deadLetters], 'sqs:CreateQueue', 'sqs:GetQueueAttributes', 'sqs:SetQueueAttributes'),
    ),
    {
      namespace: 'keda',
      serviceAccount: 'keda-operator',
      policy: { Version: '2012-10-17', Statement: [allow(queues, 'sqs:GetQueueAttributes')] },
    },
    {
      namespace: 'external-secrets',
      serviceAccount: 'external-secrets',
      policy: {
        Version: '2012-10-17',
        Statement: [
          // Secrets Manager ends each ARN with six characters of its own.
          allow(
            [`arn:aws:secretsmanager:${aws.region}:${aws.account}:secret:${aws.secret}-??????`],
            'secretsmanager:GetSecretValue',
            'secretsmanager:DescribeSecret',
          ),
        ],
      },
    },
  ];
}
