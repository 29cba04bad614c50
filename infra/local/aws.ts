/** The embedded S3 and SQS server (ministack, from the Python environment), on the loopback, its data in a folder. */
import type { Program, Supervised } from './supervise.ts';

export interface EmbeddedAws {
  url: string;
  program: Program;
}

/**
 * The server's own settings. It checks signatures and policies as AWS does (`AUTH`), keeps objects in files and, when it is
 * stopped in order, its queues too; messages that a hard kill loses are found again by maintain.
 */
export const awsVariables = ({ host, port, folder }: { host: string; port: number; folder: string }) => ({
  AUTH: 'true',
  BIND_HOST: host,
  GATEWAY_PORT: String(port),
  SERVICES: 's3,sqs',
  S3_PERSIST: '1',
  S3_DATA_DIR: `${folder}/objects`,
  PERSIST_STATE: '1',
  STATE_DIR: `${folder}/state`,
  LOG_LEVEL: 'WARNING',
});

/** How the server is started. */
export function awsProgram({
  python,
  folder,
  port,
  environment,
}: {
  python: string;
  folder: string;
  port: number;
  /** With the credentials that its clients use. */
  environment: NodeJS.ProcessEnv;
}): EmbeddedAws {
  return {
    url: `http://127.0.0.1:${port}`,
    program: {
      name: 'aws',
      command: python,
      args: ['-m', 'ministack'],
      environment: { ...environment, ...awsVariables({ host: '127.0.0.1', port, folder }) },
    },
  };
}

/** Resolves when the server answers. */
export async function untilAwsAnswers(url: string, supervised: Supervised): Promise<void> {
  for (const until = Date.now() + 60_000; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const answers = await fetch(`${url}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (answers) return;
    if (Date.now() > until) throw new Error(`The embedded S3 and SQS server (pid ${supervised.pid}) did not answer.`);
  }
}
