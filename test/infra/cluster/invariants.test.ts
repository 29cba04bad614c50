import { JsonPatch } from 'cdk8s';
import { describe, expect, test } from 'vitest';
import { invariants } from '../../../infra/cluster/invariants.ts';
import { environments, type Find, synthesize } from './support.ts';

const { local, production } = environments;
const container = '/spec/template/spec/containers/0';

/** How each invariant is broken: a patch of a manifest, and what the error says. */
const breaches: Record<string, { change: (find: Find) => void; says: string[] }> = {
  'GPU limit': {
    change: (find) =>
      patch(find, 'Deployment', 'trainer', JsonPatch.remove(`${container}/resources/limits/nvidia.com~1gpu`)),
    says: ['trainer/trainer', 'no limit of nvidia.com/gpu'],
  },
  'replicas and scaler': {
    change: (find) => patch(find, 'Deployment', 'trainer', JsonPatch.add('/spec/replicas', 2)),
    says: ['trainer/trainer', 'replicas beside a scaler'],
  },
  'scaler maximum': {
    change: (find) => {
      patch(find, 'ScaledObject', 'trainer', JsonPatch.remove('/spec/maxReplicaCount'));
      const annotation = '/spec/template/metadata/annotations/autoscaling.knative.dev~1max-scale';
      patch(find, 'Service', 'studio', JsonPatch.remove(annotation));
    },
    says: ['trainer/scaler', 'no maxReplicaCount', 'functions/studio', 'max-scale'],
  },
  'scaler fallback': {
    change: (find) =>
      patch(find, 'ScaledObject', 'trainer', JsonPatch.add('/spec/fallback', { failureThreshold: 3, replicas: 1 })),
    says: ['trainer/scaler', 'has a fallback'],
  },
  'security context': {
    change: (find) => {
      patch(find, 'Service', 'export', JsonPatch.remove(`${container}/securityContext`));
      const root = '/spec/jobTemplate/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem';
      patch(find, 'CronJob', 'maintain', JsonPatch.remove(root));
    },
    says: ['functions/export', 'drop: [ALL]', 'data/maintain', 'readOnlyRootFilesystem'],
  },
  'requests and limits': {
    change: (find) => patch(find, 'Service', 'predict', JsonPatch.remove(`${container}/resources/limits/memory`)),
    says: ['functions/predict', 'a limit of memory'],
  },
  'service account token': {
    change: (find) =>
      patch(find, 'Deployment', 'trainer', JsonPatch.replace('/spec/template/spec/automountServiceAccountToken', true)),
    says: ['trainer/trainer', 'automountServiceAccountToken: false'],
  },
  'image digest': {
    change: (find) => patch(find, 'Service', 'studio', JsonPatch.replace(`${container}/image`, 'studio:latest')),
    says: ['functions/studio', 'studio:latest', 'digest'],
  },
  'Knative feature flag': {
    change: (find) => patch(find, 'Service', 'studio', JsonPatch.add('/spec/template/spec/nodeSelector', { a: 'b' })),
    says: ['functions/studio', 'nodeSelector'],
  },
  'program variables': {
    change: (find) => {
      patch(find, 'Service', 'export', JsonPatch.remove(`${container}/env`));
      patch(
        find,
        'Deployment',
        'trainer',
        JsonPatch.add(`${container}/env/0`, { name: 'LEASE_SECONDS', value: 'long' }),
      );
    },
    says: ['functions/export', 'DATABASE_URL', 'SIGNING_SECRET', 'LEASE_SECONDS is "long"'],
  },
  'grace period': {
    change: (find) =>
      patch(find, 'Deployment', 'trainer', JsonPatch.replace('/spec/template/spec/terminationGracePeriodSeconds', 20)),
    says: ['trainer/trainer', 'grace period of 20 s'],
  },
};

function patch(find: Find, kind: string, name: string, operation: JsonPatch): void {
  find(kind, name).addJsonPatch(operation);
}

describe('an invariant', () => {
  test.each(Object.keys(invariants))('%s stops what breaks it and names the construct', (name) => {
    const { change, says } = breaches[name]!;
    const synth = () => synthesize(production!, change);
    expect(synth).toThrow();
    for (const part of [...says, `(${name})`]) expect(synth).toThrow(part);
  });
});

describe('an environment', () => {
  test('that cannot be is refused with every setting that is wrong', () => {
    const broken = {
      ...production!,
      trainer: { ...production!.trainer, maxReplicas: 0, cooldownSeconds: 5 },
      images: { ...production!.images, trainer: 'trainer:latest' },
      variables: { LEASE_SECONDS: 'soon' },
    };
    const synth = () => synthesize(broken as typeof production & object);
    for (const part of [
      'trainer.maxReplicas is 0',
      'trainer.cooldownSeconds is 5',
      'images.trainer',
      'LEASE_SECONDS is "soon"',
    ]) {
      expect(synth).toThrow(part);
    }
  });

  test('gives a program another value than its default', () => {
    const files = synthesize({ ...local!, variables: { DRAIN_SECONDS: '90' } });
    expect(files['0004-trainer.k8s.yaml']).toContain('name: DRAIN_SECONDS\n              value: "90"');
    expect(files['0004-trainer.k8s.yaml']).toContain('terminationGracePeriodSeconds: 105');
  });

  test('cannot pair a V100 with wheels that do not run on it', () => {
    // @ts-expect-error CUDA 13 has no kernels for sm_70.
    const device: (typeof production & object)['trainer']['device'] = { gpu: 'p3', wheels: 'cuda13' };
    expect(device).toBeDefined();
  });
});
