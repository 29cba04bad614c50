/** `npm start`: all of AI Teacher on this machine, until Ctrl-C. */
import { startLocal } from './start.ts';

const port = process.env.PORT || '8080';
const data = process.env.AI_TEACHER_DATA || '.data';

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stop.signal.aborted) {
      console.log('Ended at once. The next start cleans up.');
      process.exit(1);
    }
    stop.abort();
  });
}
const stopped = new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()));

try {
  if (!/^\d+$/.test(port) || Number(port) > 65_531)
    throw new Error(`PORT has to be a number up to 65531; ${port} is not.`);
  const local = await startLocal({ data, port: Number(port), tell: (line) => console.log(line) });
  if (!stop.signal.aborted) console.log(`AI Teacher is ready at ${local.studioUrl}`);
  await stopped;
  console.log('Stopping: what is under way is finished first …');
  await local.stop();
  process.exit(0);
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
