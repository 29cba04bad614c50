import { expect, test } from 'vitest';
import production from '../../../infra/cluster/environments/production.ts';
import { grants } from '../../../infra/cluster/permissions.ts';
import { cronJobs, functions, jobs, trainerReaches } from '../../../infra/cluster/programs.ts';
import { environments, manifestsOf } from './support.ts';

const all = grants(production.aws, production.namespace);
const programs = { ...functions, ...jobs, ...cronJobs, trainer: { reaches: trainerReaches } };

test('only what reaches AWS may do anything there, and all of that may', () => {
  const ours = all
    .filter(({ namespace }) => namespace === production.namespace)
    .map(({ serviceAccount }) => serviceAccount);
  const reaching = Object.entries(programs).filter(([, { reaches }]) => (reaches as readonly string[]).includes('aws'));
  expect(ours.sort()).toEqual(reaching.map(([name]) => name).sort());
});

test('each of our service accounts that AWS knows is one that a program runs as', () => {
  const accounts = manifestsOf(environments.production!)
    .filter(({ kind }) => kind === 'ServiceAccount')
    .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
  for (const { namespace, serviceAccount } of all.filter((grant) => grant.namespace === production.namespace)) {
    expect(accounts).toContain(`${namespace}/${serviceAccount}`);
  }
});

test('nothing is allowed on everything, and no action is a pattern', () => {
  for (const { Action, Resource } of all.flatMap(({ policy }) => policy.Statement)) {
    for (const action of Action) expect(action).toMatch(/^(s3|sqs|secretsmanager):[A-Za-z]+$/);
    for (const resource of Resource) expect(resource).toMatch(/^arn:aws:[a-z0-9]+:[a-z0-9-]*:\d*:[a-z]/);
  }
});

test('kOps gives each grant to its service account', () => {
  const cluster = manifestsOf(environments.production!).find(({ kind }) => kind === 'Cluster')!;
  const given = cluster.spec.iam.serviceAccountExternalPermissions as { name: string; aws: { inlinePolicy: string } }[];
  expect(given.map(({ name, aws }) => [name, JSON.parse(aws.inlinePolicy)])).toEqual(
    all.map(({ serviceAccount, policy }) => [serviceAccount, policy.Statement]),
  );
});
