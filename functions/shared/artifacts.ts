/**
 * The files of a model as rows of chunks in Postgres: written by COPY, read one query a chunk, so that a slow client holds
 * no connection. Every chunk and the whole carry a SHA-256.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { and, eq, isNotNull, sql } from 'drizzle-orm';
import type { Database, Postgres } from './database.ts';
import * as schema from './schema.ts';

/**
 * Bytes of every chunk of an artifact but its last, as it is written. A download holds some of them in memory, and there may
 * be hundreds at once. What is read has the size that it was written with.
 */
export const chunkBytes = 64 * 1024;

/** With more readers than this, what the others wait for keeps Postgres busy: a chunk ahead of each would only take memory. */
const mostAhead = 8;
/** How many readers of artifacts are open in this process. */
let readers = 0;

/** Of an unpublished model: where a fine-tuning was that was handed over (trainer/checkpoint.ts). */
export const checkpointName = 'checkpoint';

export interface StoredArtifact {
  name: string;
  type: string;
  bytes: number;
  /** Hexadecimal, of all of it. */
  sha256: string;
}

const sha256 = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest();

/**
 * Stores the file at `path` as artifact `name` of a model that nobody sees yet. Writing it again replaces nothing: a model's
 * artifacts are written once, by one attempt.
 */
export async function writeArtifact(
  { sql }: Pick<Postgres, 'sql'>,
  modelId: string,
  { name, type, path }: { name: string; type: string; path: string },
): Promise<StoredArtifact> {
  const whole = createHash('sha256');
  return await sql.begin(async (transaction) => {
    const query = transaction`copy chunks (model_id, name, index, digest, data) from stdin (format binary)`;
    const copy = await query.writable();
    // What Postgres refuses after the last byte (the model was erased meanwhile, its disk is full) reaches the query, which
    // has resolved, but not the stream, which would wait for ever (postgres.js 3.4.9).
    Object.assign(query, { reject: (error: Error) => copy.destroy(error) });
    const counted = { bytes: 0 };
    await pipeline(Readable.from(copyRows(modelId, name, path, whole, counted)), copy);
    const artifact = { name, type, bytes: counted.bytes, sha256: whole.digest('hex') };
    await transaction`insert into artifacts (model_id, name, type, bytes, sha256)
      values (${modelId}, ${name}, ${type}, ${artifact.bytes}, ${artifact.sha256})`;
    return artifact;
  });
}

/** PostgreSQL documentation, COPY, "Binary Format". */
async function* copyRows(modelId: string, name: string, path: string, whole: Hash, counted: { bytes: number }) {
  yield Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), int32(0), int32(0)]);
  const id = Buffer.from(modelId.replaceAll('-', ''), 'hex');
  let index = 0;
  for await (const data of createReadStream(path, { highWaterMark: chunkBytes }) as AsyncIterable<Buffer>) {
    whole.update(data);
    counted.bytes += data.length;
    const fields = [id, Buffer.from(name), int32(index++), sha256(data)].flatMap((field) => [
      int32(field.length),
      field,
    ]);
    yield Buffer.concat([int16(fields.length / 2 + 1), ...fields, int32(data.length), data]);
  }
  yield int16(-1);
}

function int16(value: number): Buffer {
  const buffer = Buffer.alloc(2);
  buffer.writeInt16BE(value);
  return buffer;
}

function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32BE(value);
  return buffer;
}

/** A published model's artifact, or null. */
export async function findArtifact(db: Database, modelId: string, name: string): Promise<StoredArtifact | null> {
  const { artifacts, models } = schema;
  const [found] = await db
    .select({ name: artifacts.name, type: artifacts.type, bytes: artifacts.bytes, sha256: artifacts.sha256 })
    .from(artifacts)
    .innerJoin(models, eq(models.id, artifacts.modelId))
    .where(and(eq(artifacts.modelId, modelId), eq(artifacts.name, name), isNotNull(models.publishedAt)));
  return found ?? null;
}

/**
 * The bytes from `start` to before `end` of an artifact, all of it when no range is given, in pieces of at most a chunk, one
 * read ahead where few are read at once. When all of it is read its own digest is checked too, before the last piece is given.
 *
 * @throws Error when a chunk is missing or is not what was written.
 */
export async function* readArtifact(
  db: Database,
  modelId: string,
  { name, bytes, sha256: digest }: StoredArtifact,
  { start, end }: { start: number; end: number } = { start: 0, end: bytes },
): AsyncGenerator<Uint8Array> {
  if (start >= end) return;
  const whole = start === 0 && end === bytes ? createHash('sha256') : undefined;
  const size = await sizeOfChunks(db, modelId, name);
  const last = Math.floor((end - 1) / size);
  let index = Math.floor(start / size);
  let ahead: Promise<Uint8Array> | undefined;
  readers++;
  try {
    for (; index <= last; index++) {
      const data = await (ahead ?? readChunk(db, modelId, name, index));
      ahead = index < last && readers <= mostAhead ? readChunk(db, modelId, name, index + 1) : undefined;
      whole?.update(data);
      if (index === last && whole && whole.digest('hex') !== digest) {
        throw new Error(`${name} of model ${modelId} is not what was written: its digest differs.`);
      }
      const offset = index * size;
      yield data.subarray(Math.max(0, start - offset), Math.min(data.length, end - offset));
    }
  } finally {
    // A reader that leaves early must not leave an unhandled rejection behind.
    ahead?.catch(() => {});
    readers--;
  }
}

/** Bytes of every chunk but the last. @throws Error when the first is missing. */
async function sizeOfChunks(db: Database, modelId: string, name: string): Promise<number> {
  const { chunks } = schema;
  const [first] = await db
    .select({ bytes: sql<number>`octet_length(${chunks.data})` })
    .from(chunks)
    .where(and(eq(chunks.modelId, modelId), eq(chunks.name, name), eq(chunks.index, 0)));
  if (!first) throw new Error(`Chunk 0 of ${name} of model ${modelId} is missing.`);
  return first.bytes;
}

async function readChunk(db: Database, modelId: string, name: string, index: number): Promise<Uint8Array> {
  // Base64 is a third shorter than Postgres's own hexadecimal digits, and Node decodes it five times as fast as a table of
  // ours did (2.9 GB/s against 0.6). Raw: postgres.js would make a string of each field first, which hundreds of downloads
  // leave to the collector faster than it comes.
  const [row] = await db.$client`select digest, encode(data, 'base64') as data from chunks
    where model_id = ${modelId} and name = ${name} and index = ${index}`.raw();
  if (!row) throw new Error(`Chunk ${index} of ${name} of model ${modelId} is missing.`);
  // The digest keeps its hexadecimal digits, after Postgres's \x.
  const [digest, data] = [row[0]!.toString('latin1', 2), Buffer.from(row[1]!.toString('latin1'), 'base64')];
  if (sha256(data).toString('hex') !== digest) {
    throw new Error(`Chunk ${index} of ${name} of model ${modelId} is not what was written: its digest differs.`);
  }
  return data;
}
