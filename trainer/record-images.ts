/** Records what became of uploaded images: one change of each project, written in batches. */
import { inArray, sql } from 'drizzle-orm';
import { embeddingSpace } from '#shared/backbones.ts';
import type { StoredObject } from '#shared/bucket.ts';
import { type ChangeDeps, changeProject } from '#shared/change-project.ts';
import type { Queries } from '#shared/database.ts';
import { embeddings, images } from '#shared/schema.ts';
import type { PictureResult } from './pictures.ts';

export interface IngestedImage {
  projectId: string;
  imageId: string;
  object: StoredObject;
  sequencer: string | null;
  result: PictureResult;
}

/** @returns for each image whether it is still there: its learner may have removed it, or its project. */
export async function recordImages(
  deps: ChangeDeps,
  backbone: string,
  ingested: readonly IngestedImage[],
): Promise<boolean[]> {
  const there = new Set<string>();
  // An event may come twice, at once: the first one counts.
  const unique = new Map(ingested.toReversed().map((image) => [image.imageId, image])).values();
  for (const [projectId, own] of Map.groupBy(unique, (image) => image.projectId)) {
    const ids = await changeProject(deps, projectId, async ({ transaction, raiseRevision, settle }) => {
      const recorded = await writeResults(transaction, own);
      await writeEmbeddings(transaction, backbone, recorded);
      if (recorded.some(({ result }) => 'embedding' in result)) raiseRevision();
      else settle();
      return await findIds(transaction, own);
    });
    for (const id of ids ?? []) there.add(id);
  }
  return ingested.map(({ imageId }) => there.has(imageId));
}

/** @returns the images that carry their result now; one that is no longer pending keeps what it has. */
async function writeResults(transaction: Queries, ingested: IngestedImage[]): Promise<IngestedImage[]> {
  const rows = ingested.map(({ imageId, object, sequencer, result }) => {
    const taken = 'embedding' in result;
    return {
      ...{ id: imageId, etag: object.etag, sequencer, bytes: object.bytes },
      state: taken ? 'ready' : 'rejected',
      ...(taken ? { width: result.width, height: result.height, type: result.type } : { reason: result.reason }),
    };
  });
  const changed = await transaction.execute<{ id: string }>(sql`
    update ${images} set state = result.state, reason = result.reason, etag = result.etag,
      sequencer = result.sequencer, bytes = result.bytes, width = result.width, height = result.height,
      type = coalesce(result.type, ${images.type})
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as result(id uuid, state image_state, reason jsonb,
      etag text, sequencer text, bytes int, width int, height int, type text)
    where ${images.id} = result.id and ${images.state} = 'pending'
    returning ${images.id} as id`);
  const ids = new Set(changed.map(({ id }) => id));
  return ingested.filter(({ imageId }) => ids.has(imageId));
}

async function writeEmbeddings(transaction: Queries, backbone: string, recorded: IngestedImage[]): Promise<void> {
  const space = embeddingSpace(backbone);
  const values = recorded.flatMap(({ imageId, result }) =>
    'embedding' in result ? [{ imageId, space, vector: result.embedding, seconds: result.seconds }] : [],
  );
  if (values.length > 0) await transaction.insert(embeddings).values(values).onConflictDoNothing();
}

async function findIds(transaction: Queries, ingested: IngestedImage[]): Promise<string[]> {
  const ids = ingested.map(({ imageId }) => imageId);
  const found = await transaction.select({ id: images.id }).from(images).where(inArray(images.id, ids));
  return found.map(({ id }) => id);
}
