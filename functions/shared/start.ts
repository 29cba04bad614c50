import { createLog, type Log } from './log.ts';
import { type Program, readSettings, type Settings } from './settings.ts';

export interface Running<P extends Program> {
  settings: Settings<P>;
  log: Log;
  /** Aborted by SIGTERM and SIGINT: finish what is under way, take nothing new. */
  stopping: AbortSignal;
  /** What opens registers its closer here; closing goes last-first. */
  opened: AsyncDisposableStack;
}

/**
 * Runs a program to its end: reads its settings, turns SIGTERM and SIGINT into `stopping`, closes what was opened, and exits
 * with 0. A variable that is missing or wrong ends it with one line and 2, any other failure with a logged error and 1.
 */
export async function start<P extends Program>(
  program: P,
  main: (running: Running<P>) => Promise<void>,
): Promise<void> {
  let settings: Settings<P>;
  try {
    settings = readSettings(program);
  } catch (error) {
    process.stderr.write(`${program}: ${(error as Error).message}\n`);
    process.exit(2);
  }
  const log = createLog(program, (settings as { LOG_LEVEL: string }).LOG_LEVEL);
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      log.info({ signal: name }, 'stopping');
      stop.abort();
    });
  }
  let code = 0;
  try {
    await using opened = new AsyncDisposableStack();
    await main({ settings, log, stopping: stop.signal, opened });
  } catch (error) {
    log.fatal({ err: error }, 'ended by an error');
    code = 1;
  }
  // A client library that keeps a socket or a timer must not keep the program.
  process.exit(code);
}
