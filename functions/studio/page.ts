/** The built page: files that never change under a name with a hash, and the page itself, which is asked for each time. */
import { serveStatic } from '@hono/node-server/serve-static';
import { Hono } from 'hono';
import { etag } from 'hono/etag';
import { createMiddleware } from 'hono/factory';
import { secureHeaders } from 'hono/secure-headers';
import type { SettingsOf } from '#shared/settings.ts';

type PageSettings = SettingsOf<
  'STUDIO_URL' | 'EXPORT_URL' | 'PREDICT_URL' | 'BUCKET' | 'AWS_REGION' | 'AWS_ENDPOINT_URL_S3' | 'BUCKET_ENDPOINT_URL'
>;

const origin = (url: string) => new URL(url).origin;

/** Where a browser finds the bucket: an endpoint with the bucket in its path, or AWS's own with the bucket in its host. */
export function bucketOrigins({
  BUCKET,
  AWS_REGION,
  AWS_ENDPOINT_URL_S3,
  BUCKET_ENDPOINT_URL,
}: PageSettings): string[] {
  const endpoint = BUCKET_ENDPOINT_URL ?? AWS_ENDPOINT_URL_S3;
  if (endpoint) return [origin(endpoint)];
  return [`https://${BUCKET}.s3.${AWS_REGION}.amazonaws.com`, `https://${BUCKET}.s3.amazonaws.com`];
}

/** For every answer of the studio: nothing runs, loads or frames that is not ours. */
export function pageHeaders(settings: PageSettings) {
  const bucket = bucketOrigins(settings);
  return secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'", 'blob:', 'data:', ...bucket],
      connectSrc: ["'self'", ...bucket, origin(settings.EXPORT_URL), origin(settings.PREDICT_URL)],
      workerSrc: ["'self'"],
      manifestSrc: ["'self'"],
      formAction: ["'none'"],
      baseUri: ["'none'"],
      frameAncestors: ["'none'"],
      requireTrustedTypesFor: ["'script'"],
      trustedTypes: ["'none'"],
    },
    referrerPolicy: 'no-referrer',
    xFrameOptions: 'DENY',
    crossOriginOpenerPolicy: 'same-origin',
    // Threads for WASM need it; "credentialless" loads the bucket's thumbnails without a header of the bucket's own.
    crossOriginEmbedderPolicy: 'credentialless',
    strictTransportSecurity: settings.STUDIO_URL.startsWith('https:') ? 'max-age=31536000' : false,
  });
}

/** Of what was found. Not by serveStatic's onFound, which comes when the answer is made already (node-server 2.1). */
const cached = (value: string) =>
  createMiddleware(async (context, next) => {
    await next();
    if (context.res.ok) context.header('Cache-Control', value);
  });

/** @param folder of the built page. */
export function pageRoutes(folder: string) {
  const files = serveStatic({ root: folder });
  return new Hono()
    .get('/assets/*', cached('public, max-age=31536000, immutable'), files)
    .get('/*', etag(), cached('no-cache'), files);
}
