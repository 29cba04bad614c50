import { type Logger, pino } from 'pino';

export type Log = Logger;

/** Names under which a secret could slip into a logged object; the value is left out. */
const secrets = ['authorization', 'cookie', 'key', 'token', 'signature', 'url'].flatMap((name) => [name, `*.${name}`]);

/** JSON lines on stdout, for whatever collects them. */
export const createLog = (program: string, level: string): Log =>
  pino({
    level,
    base: { program },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: secrets, remove: true },
  });
