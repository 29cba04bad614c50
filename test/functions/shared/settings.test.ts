import { expect, test } from 'vitest';
import { programs, readSettings, variables } from '#shared/settings.ts';

const environment = {
  DATABASE_URL: 'postgres://user:hidden@host/db',
  SIGNING_SECRET: 'x'.repeat(32),
};

test('defaults are read, and what is given is parsed', () => {
  expect(readSettings('predict', { ...environment, PORT: '9000' })).toEqual({
    PORT: 9000,
    LOG_LEVEL: 'info',
    DRAIN_SECONDS: 20,
    TRUSTED_PROXIES: 0,
    WRONG_KEYS_PER_MINUTE: 20,
    DATABASE_URL: environment.DATABASE_URL,
    SIGNING_SECRET: environment.SIGNING_SECRET,
    IMAGE_BYTES: 15_000_000,
    IMAGE_PIXELS: 25_000_000,
  });
});

test.each([
  [{ DATABASE_URL: '' }, 'DATABASE_URL is missing: Postgres.'],
  [{ PORT: 'http' }, 'PORT (port to listen on) has to be a whole number from 0 to 65535; "http" is not.'],
  [{ PORT: '80.5' }, 'PORT (port to listen on) has to be a whole number from 0 to 65535; "80.5" is not.'],
  [
    { LOG_LEVEL: 'loud' },
    'LOG_LEVEL (least severe line to log) has to be one of trace, debug, info, warn, error, silent; "loud" is not.',
  ],
])('%j stops a program with one line', (changed, message) => {
  expect(() => readSettings('predict', { ...environment, ...changed })).toThrow(new Error(message));
});

test('a secret that is wrong is not repeated', () => {
  for (const wrong of [{ SIGNING_SECRET: 'tooshort' }, { DATABASE_URL: 'mysql://u:tooshort@h/d' }]) {
    const read = () => readSettings('export', { ...environment, ...wrong });
    expect(read).toThrow(/has to be .*; what is set is not\.$/);
    expect(read).not.toThrow(/tooshort/);
  }
});

test('every default is one that its own rule takes, and every variable is somebody’s', () => {
  for (const [name, variable] of Object.entries(variables)) {
    const text = 'default' in variable ? variable.default : undefined;
    if (text !== undefined) expect(() => variable.parse(text), name).not.toThrow();
  }
  expect(new Set(Object.values(programs).flat())).toEqual(new Set(Object.keys(variables)));
});
