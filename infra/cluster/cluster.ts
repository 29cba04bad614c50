/** The entire cluster, as charts in the order in which they are applied. */
import { App } from 'cdk8s';
import { Data } from './charts/data.ts';
import { Embedded } from './charts/embedded.ts';
import { Functions } from './charts/functions.ts';
import { Kops } from './charts/kops.ts';
import { Platform } from './charts/platform.ts';
import { Trainer } from './charts/trainer.ts';
import { checkEnvironment, type Environment } from './environment.ts';
import { addInvariants } from './invariants.ts';

/**
 * @param outdir folder of the manifests, one file a chart: `0000-NAME.k8s.yaml` and so on.
 * @throws Error for an environment that cannot be. `synth()` of what it gives throws where an invariant does not hold, with the construct's path.
 */
export function createCluster(environment: Environment, outdir?: string): App {
  checkEnvironment(environment);
  const app = new App(outdir ? { outdir } : {});
  const charts = [
    ...(environment.aws ? [new Kops(app, 'kops', environment)] : []),
    new Platform(app, 'platform', environment),
    ...(environment.embedded ? [new Embedded(app, 'embedded', environment)] : []),
    new Data(app, 'data', environment),
    new Functions(app, 'functions', environment),
    new Trainer(app, 'trainer', environment),
  ];
  charts.reduce((before, chart) => {
    chart.addDependency(before);
    return chart;
  });
  addInvariants(app, environment);
  return app;
}
