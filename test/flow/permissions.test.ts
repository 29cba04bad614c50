/**
 * The programs with the permissions that their service accounts have in AWS, and no others: each is a user of its own of a server
 * that evaluates policies. Seen to fail: with a trainer that may not read thumbnails, or not delete originals.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CreateAccessKeyCommand, CreateUserCommand, IAMClient, PutUserPolicyCommand } from '@aws-sdk/client-iam';
import { DeleteBucketCommand, DeleteObjectCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { DeleteQueueCommand } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { uploadKey } from '#shared/keys.ts';
import production from '../../infra/cluster/environments/production.ts';
import { grants } from '../../infra/cluster/permissions.ts';
import { startTestBucketAndQueues, type TestBucketAndQueues } from '../support/bucket.ts';
import { until } from '../support/faults/system.ts';
import { createLearner, post } from '../support/learner.ts';
import { draw, type Kind, kinds } from '../support/pictures.ts';
import { freePort } from '../support/ports.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { python } from '../support/python.ts';

let aws: TestBucketAndQueues;
let postgres: TestDatabase;
let scratch: string;
let studioUrl: string;
const accounts = new Map<string, NodeJS.ProcessEnv>();
const running: ChildProcess[] = [];
const lines: string[] = [];

beforeAll(async () => {
  [aws, postgres, scratch] = await Promise.all([
    startTestBucketAndQueues('s3,sqs,iam'),
    createTestDatabase(),
    mkdtemp(join(tmpdir(), 'ai-teacher-permissions-')),
  ]);
  const { settings, s3, sqs } = aws;
  // What the server's owner made is made again by the program that does so in the cluster.
  await s3.send(new DeleteBucketCommand({ Bucket: settings.BUCKET }));
  for (const url of [settings.UPLOADS_QUEUE_URL, settings.TRAINING_QUEUE_URL]) {
    for (const QueueUrl of [url, `${url}-dead`]) await sqs.send(new DeleteQueueCommand({ QueueUrl }));
  }
  const iam = new IAMClient({ region: settings.AWS_REGION, endpoint: settings.AWS_ENDPOINT_URL_S3 });
  const here = { ...production.aws, account: '000000000000', region: settings.AWS_REGION, bucket: settings.BUCKET };
  for (const { namespace, serviceAccount: UserName, policy } of grants(here, 'ours')) {
    if (namespace !== 'ours') continue;
    await iam.send(new CreateUserCommand({ UserName }));
    const PolicyDocument = JSON.stringify(policy);
    await iam.send(new PutUserPolicyCommand({ UserName, PolicyName: UserName, PolicyDocument }));
    const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName }));
    accounts.set(UserName, {
      AWS_ACCESS_KEY_ID: AccessKey!.AccessKeyId,
      AWS_SECRET_ACCESS_KEY: AccessKey!.SecretAccessKey,
    });
  }
  iam.destroy();
  const port = await freePort();
  studioUrl = `http://127.0.0.1:${port}`;
  await ended(start('provision'));
  start('studio', { PORT: String(port) });
  await until(async () => (await fetch(`${studioUrl}/healthz`).catch(() => null))?.ok === true, 30, 'the studio');
});
afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await Promise.all(running.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')));
  await postgres?.close();
  await aws?.close();
  await rm(scratch, { recursive: true, force: true });
});

function start(program: string, own: NodeJS.ProcessEnv = {}): ChildProcess {
  const { BUCKET_ENDPOINT_URL: _, ...settings } = aws.settings;
  const environment = {
    PATH: process.env.PATH,
    ...settings,
    DATABASE_URL: postgres.url,
    STUDIO_URL: studioUrl,
    EXPORT_URL: studioUrl,
    PREDICT_URL: studioUrl,
    SIGNING_SECRET: 'x'.repeat(32),
    PYTHON: python,
    MODEL_CACHE: resolve('.data/models'),
    SCRATCH: scratch,
    SETTLE_SECONDS: '1',
    MISSED_EVENT_SECONDS: '1',
  };
  const entry = program === 'trainer' ? 'trainer/main.ts' : `functions/${program}/main.ts`;
  const child = spawn(process.execPath, [entry], {
    env: { ...environment, ...accounts.get(program), ...own },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => lines.push(text.toString()));
  running.push(child);
  return child;
}

async function ended(child: ChildProcess): Promise<void> {
  const [code] = await once(child, 'exit');
  expect([code, denied()]).toEqual([0, []]);
}

const denied = () =>
  lines
    .join('')
    .split('\n')
    .filter((line) => /AccessDenied|not authorized|Forbidden/i.test(line));

/** Waits until it holds; not in vain, where something was denied. */
async function untilAllowed(holds: () => Promise<boolean>, what: string): Promise<void> {
  await until(async () => denied().length > 0 || (await holds()), 90, what);
  expect(denied()).toEqual([]);
}

const files = (kind: Kind, from: number, count: number) =>
  Promise.all(
    Array.from({ length: count }, async (_, index) => ({
      name: `${index}.jpg`,
      type: 'image/jpeg',
      data: await draw(kind, from + index, { width: 64, height: 64 }),
    })),
  );

test('a picture’s whole way, and its end, need no permission that is not given', { timeout: 180_000 }, async () => {
  const trainer = start('trainer');
  const learner = await createLearner(studioUrl, 'Allowed', [...kinds]);
  for (const kind of kinds) await learner.upload(kind, await files(kind, 0, 6));
  await untilAllowed(async () => (await learner.project()).status === 'ready', 'a model');
  const { model, run } = await learner.project();
  expect(run!.report!.heatmaps!.length).toBeGreaterThan(0);
  expect(model!.classes).toEqual([...kinds]);

  // Shown, removed by the learner, removed in the bucket itself.
  const { images } = await learner.images();
  const [shown, removed, lost] = images;
  expect((await fetch(shown!.thumbnailUrl!)).status).toBe(200);
  await learner.call('DELETE', `/images/${removed!.id}`);
  const Key = uploadKey({ projectId: learner.id, classId: lost!.classId, imageId: lost!.id });
  await aws.s3.send(new DeleteObjectCommand({ Bucket: aws.settings.BUCKET, Key }));
  await untilAllowed(async () => (await learner.images()).images.length === images.length - 2, 'removed');

  // One whose event is lost, and one that comes when its project is gone.
  const classId = learner.classes.get('dots')!;
  const [missed, late] = await files('dots', 50, 2);
  const { uploads } = await learner.call<{ uploads: Parameters<typeof post>[0][] }>(
    'POST',
    `/classes/${classId}/uploads`,
    { files: [missed!, late!].map(({ name, type, data }) => ({ name, type, bytes: data.length })) },
  );
  trainer.kill('SIGTERM');
  await ended(trainer);
  await post(uploads[0]!, missed!);
  await aws.drain(aws.settings.UPLOADS_QUEUE_URL);
  await new Promise((settled) => setTimeout(settled, 1500));
  await ended(start('maintain'));
  start('trainer');
  const ready = async () => (await learner.images('?state=ready')).images.length;
  await untilAllowed(async () => (await ready()) === images.length - 1, 'the missed one');

  await learner.call('DELETE');
  await post(uploads[1]!, late!);
  await ended(start('maintain'));
  const left = async () => {
    const { Versions = [], DeleteMarkers = [] } = await aws.s3.send(
      new ListObjectVersionsCommand({ Bucket: aws.settings.BUCKET }),
    );
    return [...Versions, ...DeleteMarkers].length;
  };
  await untilAllowed(async () => (await left()) === 0, 'nothing is left');
});
