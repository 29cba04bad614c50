import { App, Chart } from 'cdk8s';
import { Construct } from 'constructs';
import { expect, test } from 'vitest';
import { Trainer } from '../../../infra/cluster/charts/trainer.ts';
import { environments, manifestsOf } from './support.ts';

test('names and selectors stay when a construct moves: both are what a cluster knows an object by', () => {
  const app = new App();
  const here = new Trainer(app, 'trainer', environments.production!);
  const elsewhere = new Trainer(new Construct(new Chart(app, 'other'), 'deeper'), 'renamed', environments.production!);
  expect(elsewhere.toJson()).toEqual(here.toJson());
});

test.each(Object.entries(environments))('no two objects of %s are one', (_, environment) => {
  const names = manifestsOf(environment).map(
    ({ apiVersion, kind, metadata }) => `${apiVersion} ${kind} ${metadata.namespace ?? ''}/${metadata.name}`,
  );
  expect(new Set(names).size).toBe(names.length);
});

test.each(Object.entries(environments))(
  'every selector of %s finds a pod, by labels that never change',
  (_, environment) => {
    const manifests = manifestsOf(environment);
    const pods = manifests.flatMap(({ kind, spec }) => {
      const template = kind === 'CronJob' ? spec.jobTemplate.spec.template : spec?.template;
      return template?.metadata?.labels ? [template.metadata.labels as Record<string, string>] : [];
    });
    const selectors = manifests.flatMap(({ kind, spec }): Record<string, string>[] => {
      // Kourier's pods are not ours.
      if (kind === 'Service' && spec.selector && !spec.loadBalancerClass) return [spec.selector];
      const selector = spec?.selector ?? (kind === 'NetworkPolicy' ? spec.podSelector : undefined);
      return selector?.matchLabels ? [selector.matchLabels] : [];
    });
    expect(selectors.length).toBeGreaterThan(5);
    for (const selector of selectors) {
      const found = pods.some((labels) => Object.entries(selector).every(([name, value]) => labels[name] === value));
      expect(found, JSON.stringify(selector)).toBe(true);
    }
  },
);
