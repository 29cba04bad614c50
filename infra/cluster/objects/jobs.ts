/** Jobs that run once with each release that changes them. */
import { createHash } from 'node:crypto';
import { k8s } from 'cdk8s-plus-27';
import type { Construct } from 'constructs';
import { priorities } from './priorities.ts';

interface OneJob {
  name: string;
  labels: Record<string, string>;
  /** Longest time of all attempts together. */
  seconds: number;
  pod: k8s.PodSpec;
}

/**
 * A Job's template cannot be changed, and one that is done does not run again: so its name carries a digest of what it runs, and a
 * release that changes that makes another. One that is done goes after a day, and applying it again is harmless.
 */
export function addJob(scope: Construct, { name, labels, seconds, pod }: OneJob): void {
  const spec: k8s.JobSpec = {
    // Postgres and the bucket's server may come up at the same time as this.
    backoffLimit: 10,
    activeDeadlineSeconds: seconds,
    ttlSecondsAfterFinished: 24 * 3600,
    template: {
      metadata: { labels },
      spec: { ...pod, restartPolicy: 'OnFailure', priorityClassName: priorities.job },
    },
  };
  const digest = createHash('sha256').update(JSON.stringify(spec)).digest('hex').slice(0, 8);
  new k8s.KubeJob(scope, name, { metadata: { name: `${name}-${digest}`, labels }, spec });
}
