/** Errors as the API answers them: RFC 9457 `application/problem+json`. */
import type { Context, ErrorHandler, NotFoundHandler } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { type Code, messageOf, type Params, statusOfCode } from './codes.ts';
import type { Log } from './log.ts';

export const titles = {
  400: 'Malformed request',
  401: 'Not signed in',
  403: 'Not allowed',
  404: 'Not found',
  409: 'Not possible now',
  410: 'Gone',
  413: 'Too large',
  416: 'Range not satisfiable',
  422: 'Not acceptable',
  429: 'Too many requests',
  500: 'Our mistake',
  503: 'Not available',
} as const;

interface ProblemOptions {
  headers?: Record<string, string>;
  cause?: unknown;
  /** In place of the code's own, where one code stands for many. */
  status?: number;
}

/** A request that cannot be answered. Its status and its sentence are those of `code` in codes.json. */
export class Problem extends Error {
  readonly status: ContentfulStatusCode;
  /** For programs: stays the same when the sentence changes. */
  readonly code: Code;
  readonly headers: Record<string, string>;
  readonly params: Params;

  constructor(code: Code, params: Params = {}, { headers = {}, cause, status }: ProblemOptions = {}) {
    super(messageOf(code, params), { cause });
    this.status = (status ?? statusOfCode(code)) as ContentfulStatusCode;
    this.code = code;
    this.headers = headers;
    this.params = params;
  }
}

export function answerProblem(context: Context, problem: Problem): Response {
  const { status, code, message, params, headers } = problem;
  const body = {
    type: 'about:blank',
    title: titles[status as keyof typeof titles] ?? 'Error',
    status,
    detail: message,
    code,
    params,
  };
  return context.body(JSON.stringify(body), status, { ...headers, 'Content-Type': 'application/problem+json' });
}

/** Of Node's sockets, of postgres.js, and of a Postgres that stops, crashed, starts or has no connection left. */
const outOfReach =
  /^(ECONN\w+|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|CONNECT_TIMEOUT|CONNECTION_\w+|57P0[123]|53300|08\w{3})$/;

/** Whether an error, or what caused it, says that a part which the request needs cannot be reached now. */
function isOutOfReach(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  return (typeof code === 'string' && outOfReach.test(code)) || isOutOfReach(error.cause);
}

/** For `app.onError`: a {@link Problem} as it is, anything else as 500 without a word of its inside, and logged. */
export const onError =
  (log: Log): ErrorHandler =>
  (error, context) => {
    if (error instanceof Problem) return answerProblem(context, error);
    if (error instanceof HTTPException) {
      const { status, message: problem } = error;
      if (status === 400) return answerProblem(context, new Problem('malformed', { where: 'The request', problem }));
      return answerProblem(context, new Problem('refused', { problem }, { status }));
    }
    log.error({ err: error, method: context.req.method, path: context.req.path }, 'request failed');
    if (isOutOfReach(error)) {
      return answerProblem(context, new Problem('out-of-reach', {}, { headers: { 'Retry-After': '5' } }));
    }
    return answerProblem(context, new Problem('internal'));
  };

export const onNotFound: NotFoundHandler = (context) =>
  answerProblem(context, new Problem('no-such-path', { method: context.req.method, path: context.req.path }));
