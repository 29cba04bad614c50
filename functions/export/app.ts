/** Downloads of models, streamed from Postgres chunk by chunk. */
import { type Context, Hono } from 'hono';
import { cors } from 'hono/cors';
import artifactFacts from '#shared/artifacts.json' with { type: 'json' };
import { findArtifact, readArtifact, type StoredArtifact } from '#shared/artifacts.ts';
import type { Database } from '#shared/database.ts';
import { health } from '#shared/health.ts';
import type { Log } from '#shared/log.ts';
import { openModel } from '#shared/model-access.ts';
import { onError, onNotFound, Problem } from '#shared/problem.ts';
import type { SettingsOf } from '#shared/settings.ts';
import { contentDisposition, fileName } from './file-name.ts';
import { type ByteRange, isKnown, isSame, parseRange } from './range.ts';

interface Export {
  db: Database;
  settings: SettingsOf<'SIGNING_SECRET' | 'TRUSTED_PROXIES' | 'WRONG_KEYS_PER_MINUTE'>;
  log: Log;
}

/** Every artifact that a model can have: an older model may lack one. */
const names = Object.keys(artifactFacts);

export function createExport({ db, settings, log }: Export) {
  const app = new Hono();
  app.onError(onError(log));
  app.notFound(onNotFound);
  app.get('/healthz', health(db));

  app.use(
    '/models/*',
    cors({
      origin: '*',
      allowMethods: ['GET', 'HEAD'],
      allowHeaders: ['Authorization', 'Range', 'If-Range', 'If-None-Match'],
      exposeHeaders: ['ETag', 'Content-Range', 'Content-Disposition'],
      maxAge: 86_400,
    }),
  );

  // Hono gives HEAD to it too.
  app.get('/models/:modelId/:artifact', async (context) => {
    const { req } = context;
    const model = await openModel({ db, settings }, context, req.param('modelId'));
    const artifact = await findArtifact(db, model.id, req.param('artifact'));
    if (!artifact) throw missing(req.param('artifact'));

    const etag = `"${artifact.sha256}"`;
    const headers = {
      ETag: etag,
      // A model never changes. Private: it may have been asked for by a key.
      'Cache-Control': 'private, max-age=31536000, immutable',
      'Accept-Ranges': 'bytes',
      'Cross-Origin-Resource-Policy': 'cross-origin',
      'X-Content-Type-Options': 'nosniff',
    };
    if (isKnown(req.header('If-None-Match'), etag)) return context.body(null, 304, headers);

    const all = { start: 0, end: artifact.bytes };
    // HEAD knows no ranges (RFC 9110, 14.2).
    const asked = req.method === 'GET' && isSame(req.header('If-Range'), etag);
    const range = asked ? parseRange(req.header('Range'), artifact.bytes) : null;
    if (range === 'unsatisfiable') {
      const { bytes } = artifact;
      throw new Problem('range', { bytes }, { headers: { 'Content-Range': `bytes */${bytes}` } });
    }
    const part = range ?? all;
    const described = {
      ...headers,
      'Content-Type': artifact.type,
      'Content-Length': String(part.end - part.start),
      'Content-Disposition': contentDisposition(fileName(model.projectName, artifact.name)),
      ...(range && { 'Content-Range': `bytes ${range.start}-${range.end - 1}/${artifact.bytes}` }),
    };
    if (req.method === 'HEAD') return context.body(null, 200, described);
    return context.body(await stream(context, model.id, artifact, part), range ? 206 : 200, described);
  });

  /**
   * One piece for each time the client has room for more. The first is read before anything is answered, so that what is
   * wrong with it can still be said; what goes wrong later can only be told by ending the connection before its time.
   */
  async function stream(context: Context, modelId: string, artifact: StoredArtifact, part: ByteRange) {
    const pieces = readArtifact(db, modelId, artifact, part);
    const first = await pieces.next();
    let next: typeof first | undefined = first;
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          try {
            const { done, value } = next ?? (await pieces.next());
            next = undefined;
            if (done) controller.close();
            else controller.enqueue(value);
          } catch (error) {
            log.error({ err: error, path: context.req.path }, 'download cut off');
            controller.error(error);
          }
        },
        cancel: async () => {
          await pieces.return(undefined);
        },
      },
      { highWaterMark: 0 },
    );
  }

  return app;
}

const missing = (name: string): Problem =>
  names.includes(name)
    ? new Problem('not-available', { name })
    : new Problem('no-such-artifact', { name: JSON.stringify(name), known: names });
