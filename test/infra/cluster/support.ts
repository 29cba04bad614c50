/** Clusters as tests look at them. */
import { readdirSync, readFileSync } from 'node:fs';
import { ApiObject, Testing } from 'cdk8s';
import { createCluster } from '../../../infra/cluster/cluster.ts';
import type { Environment } from '../../../infra/cluster/environment.ts';
import local from '../../../infra/cluster/environments/local.ts';
import production from '../../../infra/cluster/environments/production.ts';
import type { Manifest } from '../../../infra/cluster/invariants.ts';

export const environments: Record<string, Environment> = { local, production };

/** Every manifest, in the order in which it is applied. */
export const manifestsOf = (environment: Environment): Manifest[] =>
  createCluster(environment, Testing.app().outdir).charts.flatMap((chart) => chart.toJson() as Manifest[]);

/** The text of each file, by name. @throws where an invariant does not hold. */
export function synthesize(environment: Environment, change: (find: Find) => void = () => {}): Record<string, string> {
  const app = createCluster(environment, Testing.app().outdir);
  const objects = app.node.findAll().filter((node) => node instanceof ApiObject);
  change((kind, name) => {
    const found = objects.find((one) => one.kind === kind && one.name === name);
    if (!found) throw new Error(`There is no ${kind} ${name}.`);
    return found;
  });
  app.synth();
  return Object.fromEntries(
    readdirSync(app.outdir)
      .sort()
      .map((file) => [file, readFileSync(`${app.outdir}/${file}`, 'utf8')]),
  );
}

export type Find = (kind: string, name: string) => ApiObject;
