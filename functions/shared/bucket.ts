/** The one bucket: originals under `uploads/`, thumbnails under `thumbnails/`. */
import { createWriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import type { SettingsOf } from './settings.ts';

export interface StoredObject {
  key: string;
  /** Without quotes. */
  etag: string;
  bytes: number;
  modified: Date;
}

export interface PresignedPost {
  url: string;
  /** Go into the form as they are; the file goes last, as `file`. */
  fields: Record<string, string>;
}

export interface Bucket {
  name: string;
  /** A form that lets its holder put at most `bytes` of `type` under `key` for `seconds`, and nothing else. */
  presignUpload: (key: string, file: { type: string; bytes: number; seconds: number }) => Promise<PresignedPost>;
  /**
   * A link to read `key` for at least `seconds` (at most 7 days), as a browser reaches it. It is the same one for a tenth of
   * that time and what it gives may be kept as long, so that a page that asks again fetches nothing anew.
   */
  presignDownload: (key: string, seconds: number) => Promise<string>;
  /** What is under `key`, or null. */
  head: (key: string) => Promise<StoredObject | null>;
  /**
   * Writes the object to `path`; null when there is none (any more) or it is not the one with `etag`. One of more than `most`
   * bytes is left where it is: compare the `bytes` of the answer.
   */
  download: (
    key: string,
    path: string,
    wanted?: { etag?: string; most?: number; signal?: AbortSignal },
  ) => Promise<StoredObject | null>;
  put: (key: string, body: Uint8Array, type: string) => Promise<void>;
  /** Deletes the objects under `keys`; a key without an object is no error. Versions of a versioned bucket stay: see erase. */
  delete: (keys: string[]) => Promise<void>;
  /** Everything under `prefix`, in the order of keys. */
  list: (prefix: string) => AsyncGenerator<StoredObject>;
  /** Deletes everything under `prefix` to the last version; gives the number of versions that were there. */
  erase: (prefix: string) => Promise<number>;
  close: () => Promise<void>;
}

type BucketSettings = SettingsOf<'BUCKET' | 'AWS_REGION' | 'AWS_ENDPOINT_URL_S3' | 'BUCKET_ENDPOINT_URL'>;

/** Seconds: S3 signs for no longer. */
const longestLink = 604_800;

const isMissing = (error: unknown): boolean =>
  ['NotFound', 'NoSuchKey', 'PreconditionFailed'].includes((error as Error)?.name) ||
  [404, 412].includes((error as { $metadata?: { httpStatusCode?: number } })?.$metadata?.httpStatusCode ?? 0);

interface Clients {
  sdk: typeof import('@aws-sdk/client-s3');
  s3: S3Client;
  /** Signs what browsers use, for BUCKET_ENDPOINT_URL, which the program itself may not even reach. */
  signer: S3Client;
}

/** The SDK (which reads AWS_ENDPOINT_URL_S3 itself) is loaded with the first use, not with the program: cold starts. */
export function createBucket(settings: BucketSettings): Bucket {
  const { BUCKET: name } = settings;
  let loaded: Promise<Clients> | undefined;
  const use = () => {
    loaded ??= loadClients(settings);
    return loaded;
  };
  return {
    name,
    ...createLinks(name, use),
    ...createObjects(name, use),
    ...createRemoval(name, use),
    close: async () => {
      const clients = await loaded;
      clients?.s3.destroy();
      clients?.signer.destroy();
    },
  };
}

async function loadClients(settings: BucketSettings): Promise<Clients> {
  const sdk = await import('@aws-sdk/client-s3');
  const createClient = (endpoint?: string): S3Client =>
    new sdk.S3Client({
      region: settings.AWS_REGION,
      maxAttempts: 5,
      // Otherwise the SDK signs the checksum of an empty body into presigned requests.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      ...(endpoint && { endpoint, forcePathStyle: true }),
    });
  const { AWS_ENDPOINT_URL_S3, BUCKET_ENDPOINT_URL = AWS_ENDPOINT_URL_S3 } = settings;
  return { sdk, s3: createClient(AWS_ENDPOINT_URL_S3), signer: createClient(BUCKET_ENDPOINT_URL) };
}

const createLinks = (
  Bucket: string,
  use: () => Promise<Clients>,
): Pick<Bucket, 'presignUpload' | 'presignDownload'> => ({
  presignUpload: async (key, { type, bytes, seconds }) => {
    const [{ createPresignedPost }, { signer }] = await Promise.all([import('@aws-sdk/s3-presigned-post'), use()]);
    return createPresignedPost(signer, {
      Bucket,
      Key: key,
      Expires: seconds,
      Fields: { 'Content-Type': type },
      Conditions: [
        ['eq', '$Content-Type', type],
        ['content-length-range', 0, bytes],
      ],
    });
  },
  presignDownload: async (key, seconds) => {
    const [{ getSignedUrl }, { sdk, signer }] = await Promise.all([import('@aws-sdk/s3-request-presigner'), use()]);
    const step = Math.ceil(seconds / 10);
    const signingDate = new Date(Math.floor(Date.now() / 1000 / step) * step * 1000);
    const command = new sdk.GetObjectCommand({
      Bucket,
      Key: key,
      ResponseCacheControl: `private, max-age=${seconds}, immutable`,
    });
    return getSignedUrl(signer, command, { signingDate, expiresIn: Math.min(seconds + step, longestLink) });
  },
});

function createObjects(
  Bucket: string,
  use: () => Promise<Clients>,
): Pick<Bucket, 'head' | 'download' | 'put' | 'list'> {
  return {
    head: async (key) => {
      const { sdk, s3 } = await use();
      try {
        const answer = await s3.send(new sdk.HeadObjectCommand({ Bucket, Key: key }));
        return stored(key, answer);
      } catch (error) {
        if (isMissing(error)) return null;
        throw error;
      }
    },
    download: async (key, path, { etag, most = Number.POSITIVE_INFINITY, signal } = {}) => {
      const { sdk, s3 } = await use();
      try {
        const command = new sdk.GetObjectCommand({ Bucket, Key: key, ...(etag && { IfMatch: `"${etag}"` }) });
        const answer = await s3.send(command, signal ? { abortSignal: signal } : {});
        if ((answer.ContentLength ?? 0) > most) {
          (answer.Body as Readable).destroy();
          return stored(key, answer);
        }
        await pipeline(answer.Body as Readable, createWriteStream(path), signal ? { signal } : {});
        return stored(key, answer);
      } catch (error) {
        if (isMissing(error)) return null;
        throw error;
      }
    },
    put: async (key, body, type) => {
      const { sdk, s3 } = await use();
      await s3.send(new sdk.PutObjectCommand({ Bucket, Key: key, Body: body, ContentType: type }));
    },
    list: async function* (prefix) {
      const { sdk, s3 } = await use();
      for await (const page of sdk.paginateListObjectsV2({ client: s3 }, { Bucket, Prefix: prefix })) {
        for (const { Key, ETag, Size, LastModified } of page.Contents ?? []) {
          yield stored(Key!, { ETag, ContentLength: Size, LastModified });
        }
      }
    },
  };
}

function createRemoval(Bucket: string, use: () => Promise<Clients>): Pick<Bucket, 'delete' | 'erase'> {
  async function deleteVersions(versions: { Key: string; VersionId?: string | undefined }[]): Promise<void> {
    const { sdk, s3 } = await use();
    for (let at = 0; at < versions.length; at += 1000) {
      const Objects = versions.slice(at, at + 1000);
      const { Errors = [] } = await s3.send(new sdk.DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }));
      const failed = Errors.find(({ Code }) => Code !== 'NoSuchKey');
      if (failed) throw new Error(`S3 did not delete ${failed.Key}: ${failed.Code} ${failed.Message}`);
    }
  }

  async function erase(prefix: string): Promise<number> {
    const { sdk, s3 } = await use();
    // Always the first page again: what it named is gone by then.
    for (let erased = 0, before = ''; ; ) {
      const page = await s3.send(new sdk.ListObjectVersionsCommand({ Bucket, Prefix: prefix }));
      const found = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])];
      if (found.length === 0) return erased;
      const first = `${found[0]!.Key} ${found[0]!.VersionId}`;
      if (first === before) throw new Error(`S3 says that it deleted ${first} (a version), and lists it still.`);
      before = first;
      // "null" is a version like others: without its name, a bucket whose versioning was suspended would only mark it.
      await deleteVersions(found.map(({ Key, VersionId }) => ({ Key: Key!, VersionId })));
      erased += found.length;
    }
  }

  return { delete: (keys) => deleteVersions(keys.map((Key) => ({ Key }))), erase };
}

function stored(
  key: string,
  answer: { ETag?: string | undefined; ContentLength?: number | undefined; LastModified?: Date | undefined },
): StoredObject {
  return {
    key,
    etag: answer.ETag?.replaceAll('"', '') ?? '',
    bytes: answer.ContentLength ?? 0,
    modified: answer.LastModified ?? new Date(0),
  };
}
