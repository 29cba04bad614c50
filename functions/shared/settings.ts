/**
 * Every environment variable of every program, once: what it means, what it has to look like, its default. A program starts
 * with {@link readSettings}; the cluster's manifests and the README are checked against the same table.
 */

import { bundledBackbones, parseBackbones } from './backbones.ts';
import images from './images.json' with { type: 'json' };

interface Variable<T> {
  meaning: string;
  /** @throws with what was expected, as the rest of a sentence. */
  parse: (text: string) => T;
  /** As it would be written in the environment; a variable without one is required unless it is `optional`. */
  default?: string;
  optional?: true;
  /** Never printed, and from a Secret in the cluster. */
  secret?: true;
}

const text = (value: string): string => value;

function url(...protocols: string[]) {
  return (value: string): string => {
    if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol)) {
      throw new Error(`a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`);
    }
    return value.replace(/\/+$/, '');
  };
}
const web = url('http:', 'https:');

function number(low: number, high: number, step: 'whole' | 'any' = 'whole') {
  return (value: string): number => {
    const parsed = Number(value);
    if (value.trim() === '' || !(parsed >= low && parsed <= high) || (step === 'whole' && !Number.isInteger(parsed))) {
      throw new Error(`a ${step === 'whole' ? 'whole ' : ''}number from ${low} to ${high}`);
    }
    return parsed;
  };
}

function oneOf<const T extends string>(...words: T[]) {
  return (value: string): T => {
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) throw new Error(`one of ${words.join(', ')}`);
    return word;
  };
}

function secret(value: string): string {
  if (value.length < 32) throw new Error('at least 32 characters, from `openssl rand -hex 32`, say');
  return value;
}

const variable = <T>(
  meaning: string,
  parse: (text: string) => T,
  rest: Omit<Variable<T>, 'meaning' | 'parse'> = {},
) => ({
  meaning,
  parse,
  ...rest,
});
/** One that may be absent, with `undefined` for its value. */
const optional = <T>(meaning: string, parse: (text: string) => T | undefined) =>
  variable(meaning, parse, { optional: true });

export const variables = {
  PORT: variable('port to listen on', number(0, 65535), { default: '8080' }),
  DATABASE_URL: variable('Postgres', url('postgres:', 'postgresql:'), { secret: true }),
  BUCKET: variable('name of the bucket', text),
  UPLOADS_QUEUE_URL: variable('queue of S3 events', web),
  TRAINING_QUEUE_URL: variable('queue of training messages', web),
  AWS_REGION: variable('region of bucket and queues', text),
  AWS_ENDPOINT_URL_S3: optional('S3 endpoint, where it is not AWS', web),
  AWS_ENDPOINT_URL_SQS: optional('SQS endpoint, where it is not AWS', web),
  BUCKET_ENDPOINT_URL: optional('S3 endpoint as a browser reaches it, where that differs', web),
  STUDIO_URL: variable('the studio as a browser reaches it', web),
  EXPORT_URL: variable('export as a browser reaches it', web),
  PREDICT_URL: variable('predict as a browser reaches it', web),
  SIGNING_SECRET: variable('signs links to models; the same for studio, export and predict', secret, { secret: true }),
  TRUSTED_PROXIES: variable('how many proxies in front add to X-Forwarded-For', number(0, 10), { default: '0' }),

  SETTLE_SECONDS: variable(
    'wait after a change before training, while uploads are on their way',
    number(0, 900, 'any'),
    { default: '3' },
  ),
  DIRTY_SECONDS: variable('longest wait of a project that never settles', number(1, 900), { default: '60' }),
  LEASE_SECONDS: variable('time after which a silent worker loses its run', number(2, 900), { default: '20' }),
  DRAIN_SECONDS: variable('time to finish what is under way after SIGTERM', number(1, 3600), { default: '20' }),
  UPLOAD_LINK_SECONDS: variable('validity of an upload link', number(1, 300), { default: '300' }),
  UPLOAD_LAPSE_SECONDS: variable('time after the last link until an upload that never came lapses', number(1, 86_400), {
    default: '600',
  }),
  MISSED_EVENT_SECONDS: variable('age at which an object without its event is looked for', number(1, 86_400), {
    default: '120',
  }),
  LINK_SECONDS: variable('validity of links to models and thumbnails', number(10, 604_800), { default: '3600' }),
  PROJECT_DAYS: variable('days without use after which a project is erased', number(1, 3650), { default: '180' }),

  IMAGE_BYTES: variable('largest image on the wire', number(1, 100_000_000), { default: String(images.bytes) }),
  IMAGE_PIXELS: variable('largest image, decoded', number(1, 100_000_000), { default: String(images.pixels) }),
  CLASSES_PER_PROJECT: variable('classes of one project', number(2, 1000), { default: '100' }),
  IMAGES_PER_PROJECT: variable('images of one project', number(4, 1_000_000), { default: '20000' }),
  BYTES_PER_PROJECT: variable('bytes of all images of one project', number(1_000_000, 1e15), {
    default: '50000000000',
  }),
  PROJECTS_PER_SESSION: variable('projects of one browser', number(1, 200), { default: '200' }),
  PROJECTS_PER_HOUR: variable('projects made from one address in an hour', number(1, 1_000_000), { default: '1000' }),
  WRONG_KEYS_PER_MINUTE: variable('wrong keys from one address in a minute', number(1, 1_000_000), { default: '20' }),
  RUNS_PER_HOUR: variable('trainings that one learner may ask for in an hour', number(1, 1_000_000), { default: '60' }),
  IMAGES_PER_HOUR: variable('images that one learner may ask to upload in an hour', number(1, 1_000_000), {
    default: '20000',
  }),
  BYTES_PER_HOUR: variable('bytes that one learner may ask to upload in an hour', number(1_000_000, 1e15), {
    default: '10000000000',
  }),
  MODELS_PER_PROJECT: variable('models kept of one project, newest first', number(1, 1000), { default: '10' }),

  BACKBONES: variable('backbones that learners can choose, the first being the default', parseBackbones, {
    default: bundledBackbones.join(','),
  }),
  PYTHON: variable('Python with the packages of trainer/python', text, { default: '.venv/bin/python' }),
  MODEL_CACHE: variable('folder of prepared backbones', text, { default: '.data/models' }),
  SCRATCH: variable('folder for pictures and models under way', text, { default: '/tmp' }),
  DEVICE: variable('where the trainer computes', oneOf('auto', 'cpu', 'cuda'), { default: 'auto' }),
  GPU_MEMORY: variable(
    'share of the GPU’s memory for each of the trainer’s two Python children',
    number(0.01, 1, 'any'),
    {
      default: '0.45',
    },
  ),
  FINE_TUNE_SECONDS: variable('most seconds that a fine-tuning learns', number(1, 86_400), { default: '300' }),
  THREADS: variable('threads of each of the trainer’s two Python children', number(1, 256), { default: '2' }),

  LOG_LEVEL: variable('least severe line to log', oneOf('trace', 'debug', 'info', 'warn', 'error', 'silent'), {
    default: 'info',
  }),
} satisfies Record<string, Variable<unknown>>;

export type VariableName = keyof typeof variables;

const bucket = ['BUCKET', 'AWS_REGION', 'AWS_ENDPOINT_URL_S3', 'BUCKET_ENDPOINT_URL'] as const;
const queues = ['UPLOADS_QUEUE_URL', 'TRAINING_QUEUE_URL', 'AWS_REGION', 'AWS_ENDPOINT_URL_SQS'] as const;
const served = ['PORT', 'LOG_LEVEL', 'DRAIN_SECONDS', 'TRUSTED_PROXIES'] as const;
const urls = ['STUDIO_URL', 'EXPORT_URL', 'PREDICT_URL', 'SIGNING_SECRET', 'LINK_SECONDS'] as const;

/** Which program takes which variables. */
export const programs = {
  studio: [
    ...served,
    'DATABASE_URL',
    ...bucket,
    ...queues,
    ...urls,
    'SETTLE_SECONDS',
    'UPLOAD_LINK_SECONDS',
    'IMAGE_BYTES',
    'CLASSES_PER_PROJECT',
    'IMAGES_PER_PROJECT',
    'BYTES_PER_PROJECT',
    'PROJECT_DAYS',
    'PROJECTS_PER_SESSION',
    'PROJECTS_PER_HOUR',
    'WRONG_KEYS_PER_MINUTE',
    'RUNS_PER_HOUR',
    'IMAGES_PER_HOUR',
    'BYTES_PER_HOUR',
    'BACKBONES',
  ],
  export: [...served, 'DATABASE_URL', 'SIGNING_SECRET', 'WRONG_KEYS_PER_MINUTE'],
  predict: [...served, 'DATABASE_URL', 'SIGNING_SECRET', 'IMAGE_BYTES', 'IMAGE_PIXELS', 'WRONG_KEYS_PER_MINUTE'],
  maintain: [
    'LOG_LEVEL',
    'DATABASE_URL',
    ...bucket,
    ...queues,
    'SETTLE_SECONDS',
    'UPLOAD_LAPSE_SECONDS',
    'MISSED_EVENT_SECONDS',
    'PROJECT_DAYS',
    'MODELS_PER_PROJECT',
  ],
  provision: ['LOG_LEVEL', ...bucket, ...queues, 'STUDIO_URL'],
  migrate: ['LOG_LEVEL', 'DATABASE_URL'],
  trainer: [
    'LOG_LEVEL',
    'DATABASE_URL',
    ...bucket,
    ...queues,
    'SETTLE_SECONDS',
    'DIRTY_SECONDS',
    'LEASE_SECONDS',
    'DRAIN_SECONDS',
    'IMAGE_BYTES',
    'IMAGE_PIXELS',
    'BACKBONES',
    'PYTHON',
    'MODEL_CACHE',
    'SCRATCH',
    'DEVICE',
    'GPU_MEMORY',
    'FINE_TUNE_SECONDS',
    'THREADS',
  ],
} as const satisfies Record<string, readonly VariableName[]>;

export type Program = keyof typeof programs;
type Value<N extends VariableName> = ReturnType<(typeof variables)[N]['parse']>;
export type Settings<P extends Program> = { readonly [N in (typeof programs)[P][number]]: Value<N> };
/** The part of any program's settings that a shared module needs. */
export type SettingsOf<N extends VariableName> = { readonly [K in N]: Value<K> };

/**
 * The settings of `program` from the environment.
 *
 * @throws Error with one line that names the first variable that is missing or wrong, and what was expected.
 */
export function readSettings<P extends Program>(program: P, environment: NodeJS.ProcessEnv = process.env): Settings<P> {
  const read = (name: VariableName): [VariableName, unknown] => {
    const { meaning, parse, default: fallback, optional, secret }: Variable<unknown> = variables[name];
    // An empty variable counts as none: that is what a manifest or a shell leaves where nothing was meant.
    const given = environment[name] || fallback;
    if (given === undefined) {
      if (optional) return [name, undefined];
      throw new Error(`${name} is missing: ${meaning}.`);
    }
    try {
      return [name, parse(given)];
    } catch (cause) {
      const shown = secret ? 'what is set' : JSON.stringify(given);
      throw new Error(`${name} (${meaning}) has to be ${(cause as Error).message}; ${shown} is not.`, { cause });
    }
  };
  return Object.fromEntries(programs[program].map(read)) as Settings<P>;
}
