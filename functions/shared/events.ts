/**
 * S3's event notifications (event version 2.x) as they arrive on the `uploads` queue: at least once, in any order, several
 * records to a message. Only the fields in use are read; an unknown field is no error.
 */
import { z } from 'zod';

const record = z.object({
  eventName: z.string(),
  s3: z.object({
    bucket: z.object({ name: z.string() }),
    object: z.object({
      key: z.string(),
      size: z.number().optional(),
      eTag: z.string().optional(),
      sequencer: z.string().optional(),
    }),
  }),
});

const body = z.object({ Event: z.string().optional(), Records: z.array(record).optional() });

export interface ObjectEvent {
  kind: 'created' | 'removed';
  bucket: string;
  /** Decoded: as the object is called in the bucket. */
  key: string;
  /** Without the quotes that S3 puts around it in headers. */
  etag: string | null;
  /** Orders the events of one key; see {@link compareSequencers}. */
  sequencer: string | null;
}

/**
 * The object events of one message's body. A test event (`s3:TestEvent` has no records) gives none.
 *
 * @throws Error when the body is no S3 event: the message is not ours and belongs on the dead-letter queue.
 */
export function parseObjectEvents(text: string): ObjectEvent[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new Error(`Expected an S3 event as JSON on the uploads queue, got: ${text.slice(0, 200)}`, { cause });
  }
  const parsed = body.safeParse(json);
  if (!parsed.success || (parsed.data.Records === undefined && parsed.data.Event !== 's3:TestEvent')) {
    throw new Error(`Expected an S3 event with Records on the uploads queue, got: ${text.slice(0, 200)}`, {
      cause: parsed.error,
    });
  }
  return (parsed.data.Records ?? []).flatMap(({ eventName, s3: { bucket, object } }): ObjectEvent[] => {
    const kind = eventName.replace(/^s3:/, '').split(':')[0];
    if (kind !== 'ObjectCreated' && kind !== 'ObjectRemoved') return [];
    return [
      {
        kind: kind === 'ObjectCreated' ? 'created' : 'removed',
        bucket: bucket.name,
        key: decodeKey(object.key),
        etag: object.eTag?.replaceAll('"', '') ?? null,
        sequencer: object.sequencer ?? null,
      },
    ];
  });
}

/** The event of an object as S3 would send it, for {@link parseObjectEvents}. */
export const createdEvent = (object: { bucket: string; key: string; etag: string; bytes: number }) => ({
  Records: [
    {
      eventVersion: '2.1',
      eventSource: 'ai-teacher:maintain',
      eventName: 'ObjectCreated:Post',
      s3: {
        bucket: { name: object.bucket },
        object: { key: encodeKey(object.key), size: object.bytes, eTag: object.etag },
      },
    },
  ],
});

const encodeKey = (key: string): string => encodeURIComponent(key).replaceAll('%2F', '/').replaceAll('%20', '+');

/** S3 form-encodes keys in events: a space comes as a plus sign, a plus sign as %2B. */
function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '));
  } catch (cause) {
    throw new Error(`Expected a form-encoded key in an S3 event, got: ${key}`, { cause });
  }
}

/**
 * Order of two events of the same key: negative when `a` came first. The shorter one is right-padded with zeros, then the two
 * hexadecimal numbers are compared as text (S3 user guide, "Event message structure").
 */
export function compareSequencers(a: string, b: string): number {
  const length = Math.max(a.length, b.length);
  const [left, right] = [a.toUpperCase().padEnd(length, '0'), b.toUpperCase().padEnd(length, '0')];
  return left < right ? -1 : left > right ? 1 : 0;
}
