/** What bucket, Postgres and queues say in the end, and where they contradict each other. */
import { GetQueueAttributesCommand } from '@aws-sdk/client-sqs';
import { expect } from 'vitest';
import { parseThumbnailKey, parseUploadKey, thumbnailsPrefix, uploadsPrefix } from '#shared/keys.ts';
import { type System, wait } from './system.ts';

const attributes = [
  'ApproximateNumberOfMessages',
  'ApproximateNumberOfMessagesNotVisible',
  'ApproximateNumberOfMessagesDelayed',
] as const;

/** Messages on a queue, hidden and delayed ones too. */
export async function depth(
  { aws, sqs }: System,
  name: 'uploads' | 'training' | 'uploads-dead' | 'training-dead',
): Promise<number> {
  const QueueUrl = `${aws}/000000000000/${name}`;
  const answer = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: [...attributes] }));
  return attributes.reduce((sum, attribute) => sum + Number(answer.Attributes?.[attribute] ?? 0), 0);
}

/** Messages that were given up. */
export const deadLetters = async (system: System): Promise<number> =>
  (await depth(system, 'uploads-dead')) + (await depth(system, 'training-dead'));

/**
 * Waits until nothing differs any more: nothing is at work, and nothing waits. With `maintained` maintain comes by now and then,
 * for what was given up on a queue. @throws where something differs in the end.
 */
export async function settle(system: System, seconds: number, { maintained = false } = {}): Promise<void> {
  const end = performance.now() + seconds * 1000;
  for (let turn = 0; performance.now() < end; turn++) {
    if (maintained && turn % 20 === 0) await system.local.maintain();
    // Cheap questions first: what compares everything lists the bucket.
    if ((await isQuiet(system)) && (await differences(system).catch(() => ['out of reach'])).length === 0) return;
    await wait(0.5);
  }
  expect(await differences(system)).toEqual([]);
}

async function isQuiet(system: System): Promise<boolean> {
  try {
    if ((await depth(system, 'uploads')) + (await depth(system, 'training')) > 0) return false;
    const [busy] = await system.postgres.sql<{ any: boolean }[]>`
      select exists (select from runs where state in ('queued', 'running')) as any`;
    return !busy!.any;
  } catch {
    // What was taken away may not be back yet.
    return false;
  }
}

/** Ids of the images that have an object under a prefix, of any project that was not deleted. */
async function inBucket({ bucket }: System, prefix: string): Promise<Set<string>> {
  const ids = new Set<string>();
  for await (const { key } of bucket.list(prefix)) {
    ids.add((parseUploadKey(key) ?? parseThumbnailKey(key))?.imageId ?? `no image: ${key}`);
  }
  return ids;
}

/** Models that are visible though not all of their bytes are there. */
export async function halfModels({ postgres: { sql } }: System): Promise<string[]> {
  const found = await sql<{ id: string }[]>`select models.id from models join artifacts on model_id = models.id
    where published_at is not null and bytes <> (select coalesce(sum(length(data)), 0) from chunks
      where chunks.model_id = models.id and chunks.name = artifacts.name)
    union all select id from models where published_at is not null
      and not exists (select 1 from artifacts where model_id = models.id and name = 'model.onnx')`;
  return found.map(({ id }) => id);
}

/** Every difference, as a sentence; none: nothing was lost, nothing is there twice, nothing is left half done. */
export async function differences(system: System): Promise<string[]> {
  const { sql } = system.postgres;
  const found: string[] = [];
  const say = (what: string, ids: Iterable<string>) => {
    const all = [...ids];
    if (all.length > 0) found.push(`${what}: ${all.length} (${all.slice(0, 3).join(', ')})`);
  };
  const images = await sql<{ id: string; state: string; embedded: boolean }[]>`
    select images.id, state, exists (select 1 from embeddings where image_id = images.id) as embedded
    from images join projects on projects.id = project_id where deleted_at is null`;
  const [uploads, thumbnails] = [await inBucket(system, uploadsPrefix), await inBucket(system, thumbnailsPrefix)];
  const idsOf = (state: string) => images.filter((image) => image.state === state).map(({ id }) => id);
  const known = new Set(images.map(({ id }) => id));
  say(
    'ready without its object',
    idsOf('ready').filter((id) => !uploads.has(id)),
  );
  say(
    'ready without its thumbnail',
    idsOf('ready').filter((id) => !thumbnails.has(id)),
  );
  say(
    'ready without its embedding',
    images.filter((one) => one.state === 'ready' && !one.embedded).map(({ id }) => id),
  );
  say(
    'pending though its object is there',
    idsOf('pending').filter((id) => uploads.has(id)),
  );
  say(
    'objects without a row',
    [...uploads, ...thumbnails].filter((id) => !known.has(id)),
  );

  const rows = async (query: Promise<{ id: string }[]>) => (await query).map(({ id }) => id);
  say('runs that never ended', await rows(sql`select id from runs where state in ('queued', 'running')`));
  say(
    'projects still due',
    await rows(sql`select id from projects where train_due_at is not null and deleted_at is null`),
  );
  say(
    'two automatic runs of a revision',
    await rows(
      sql`select project_id as id from runs where automatic group by project_id, revision having count(*) > 1`,
    ),
  );
  say(
    'two models of a run and stage',
    await rows(
      sql`select run_id as id from models where published_at is not null group by run_id, stage having count(*) > 1`,
    ),
  );
  say(
    'succeeded without a model',
    await rows(sql`select id from runs where state = 'succeeded' and not exists
      (select 1 from models where run_id = runs.id and published_at is not null)`),
  );
  say('published models with a part missing', await halfModels(system));
  for (const name of ['uploads', 'training'] as const) {
    const left = await depth(system, name);
    if (left > 0) found.push(`${left} messages on ${name}`);
  }
  return found;
}
