/** Bucket, queues and schema as this version expects them, and maintain, which looks after what is in them. */
import { Chart } from 'cdk8s';
import { k8s } from 'cdk8s-plus-27';
import type { Construct } from 'constructs';
import type { Environment } from '../environment.ts';
import { addJob } from '../objects/jobs.ts';
import { container, entryOf, labelsOf, podSpec, sizeOf } from '../objects/pods.ts';
import { priorities } from '../objects/priorities.ts';
import { addServiceAccount } from '../objects/service-account.ts';
import { variablesOf } from '../objects/variables.ts';
import { cronJobs, jobs } from '../programs.ts';
import { sizeIn } from '../sizes.ts';

const tasks = { ...jobs, ...cronJobs };

export class Data extends Chart {
  constructor(scope: Construct, id: string, environment: Environment) {
    super(scope, id, { namespace: environment.namespace, disableResourceNameHashes: true });

    for (const name of Object.keys(jobs) as (keyof typeof jobs)[]) {
      addServiceAccount(this, name);
      addJob(this, {
        name,
        labels: labelsOf(name, jobs[name].reaches),
        seconds: jobs[name].seconds,
        pod: taskPod(name, environment),
      });
    }

    for (const name of Object.keys(cronJobs) as (keyof typeof cronJobs)[]) {
      const { schedule, seconds, reaches } = cronJobs[name];
      addServiceAccount(this, name);
      new k8s.KubeCronJob(this, name, {
        metadata: { name, labels: labelsOf(name, reaches) },
        spec: {
          schedule,
          // The next one does what one that takes long has left.
          concurrencyPolicy: 'Forbid',
          startingDeadlineSeconds: 240,
          successfulJobsHistoryLimit: 1,
          failedJobsHistoryLimit: 3,
          jobTemplate: {
            spec: {
              backoffLimit: 0,
              activeDeadlineSeconds: seconds,
              template: {
                metadata: { labels: labelsOf(name, reaches) },
                spec: {
                  ...taskPod(name, environment),
                  restartPolicy: 'Never',
                  priorityClassName: priorities.job,
                },
              },
            },
          },
        },
      });
    }
  }
}

const taskPod = (name: keyof typeof tasks, environment: Environment): k8s.PodSpec =>
  podSpec({
    serviceAccount: name,
    containers: [
      container({
        name,
        image: environment.images.functions,
        args: [entryOf(name)],
        env: variablesOf(name, environment),
        resources: sizeOf(sizeIn(environment, tasks[name])),
      }),
    ],
  });
