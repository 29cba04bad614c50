import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import type { Hono } from 'hono';
import type { Log } from './log.ts';

interface Serving {
  port: number;
  /** Longest time for requests under way once `stopping` is aborted. */
  drainSeconds: number;
  stopping: AbortSignal;
  log: Log;
}

/**
 * Serves `app` until `stopping`, then takes no new connection, lets the requests under way finish, and resolves.
 *
 * @throws Error when the port is taken.
 */
// biome-ignore lint/suspicious/noExplicitAny: an app of any environment can be served.
export async function serve(app: Hono<any, any, any>, { port, drainSeconds, stopping, log }: Serving): Promise<void> {
  const server = createAdaptorServer({ fetch: app.fetch }) as Server;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === 'EADDRINUSE'
          ? new Error(`Port ${port} is taken by another program: set PORT to a free one.`, { cause })
          : cause,
      ),
    );
    server.listen(port, () => resolve());
  });
  log.info({ port }, 'listening');
  await new Promise<void>((resolve) => {
    const drain = () => {
      // Kept-alive connections are told to go with their next answer.
      server.prependListener('request', (_, response) => response.setHeader('Connection', 'close'));
      server.close(() => resolve());
      server.closeIdleConnections();
      setTimeout(() => server.closeAllConnections(), drainSeconds * 1000).unref();
    };
    if (stopping.aborted) drain();
    else stopping.addEventListener('abort', drain, { once: true });
  });
}
