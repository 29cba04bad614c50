/** What the API takes and gives; the OpenAPI document and the validation of requests come from here. */
import { z } from '@hono/zod-openapi';
import { imageStates, projectStatuses, runStates, stages } from '#shared/words.ts';

/** Line ends, other control characters, and those that reverse what follows: no name needs them, and some deceive. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]/u;
const visible = /[^\p{Default_Ignorable_Code_Point}\p{Z}]/u;
/** As JSON Schema counts, too: an emoji is not two characters. */
const length = (text: string): number => [...text].length;

const name = z
  .string()
  .transform((value) => value.normalize('NFC').trim())
  .refine((value) => visible.test(value) && length(value) <= 100, 'a name has 1 to 100 characters')
  .refine((value) => value.isWellFormed() && !unprintable.test(value), 'a name has no control characters')
  .openapi({ type: 'string', minLength: 1, maxLength: 100, example: '고양이' });

/** `.nullable()` would describe the thing itself as one that may be null, everywhere. */
const orNull = <T extends z.ZodType>(schema: T) => z.union([schema, z.null()]);

const id = z.string().openapi({ format: 'uuid' });
export const projectParams = z.object({ projectId: id });
export const classParams = projectParams.extend({ classId: id });
export const imageParams = projectParams.extend({ imageId: id });
export const runParams = projectParams.extend({ runId: id });
export const modelParams = projectParams.extend({ modelId: id });

export const detail = z
  .object({ code: z.string(), params: z.record(z.string(), z.unknown()), message: z.string() })
  .openapi('Detail');

export const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number(),
    detail: z.string(),
    code: z.string(),
    params: z.record(z.string(), z.unknown()),
  })
  .openapi('Problem');

const report = z.record(z.string(), z.unknown()).openapi('Report');

export const run = z
  .object({
    id,
    revision: z.number().int(),
    stage: z.enum(stages),
    state: z.enum(runStates),
    progress: z.object({ percent: z.number(), secondsLeft: z.number().nullable() }),
    error: orNull(detail),
    report: orNull(report),
  })
  .openapi('Run');

const artifact = z
  .object({ name: z.string(), type: z.string(), bytes: z.number().int(), sha256: z.string(), url: z.string() })
  .openapi('Artifact');

export const model = z
  .object({
    id,
    projectId: id,
    runId: id,
    revision: z.number().int(),
    stage: z.enum(stages),
    classes: z.array(z.string()),
    accuracy: z.number(),
    createdAt: z.string(),
    predictUrl: z.string(),
    artifacts: z.array(artifact),
  })
  .openapi('Model');

const images = z.object({ ready: z.number(), pending: z.number(), rejected: z.number() });
export const projectClass = z.object({ id, name: z.string() }).openapi('Class');

export const project = z
  .object({
    id,
    name: z.string(),
    revision: z.number().int(),
    status: z.enum(projectStatuses),
    statusDetail: orNull(detail),
    classes: z.array(z.object({ id, name: z.string(), images })),
    run: orNull(run),
    model: orNull(model),
    expiresAt: z.string().openapi({ description: 'When it is erased unless somebody uses it before' }),
  })
  .openapi('Project');

export const image = z
  .object({
    id,
    classId: id,
    name: z.string(),
    state: z.enum(imageStates),
    reason: orNull(detail),
    thumbnailUrl: z.string().nullable(),
  })
  .openapi('Image');

export const upload = z
  .object({ imageId: id, url: z.string(), fields: z.record(z.string(), z.string()) })
  .openapi('Upload');

export const newProject = z.object({ name, classes: z.array(name).max(1000).optional() }).openapi('NewProject');
export const createdProject = z
  .object({ id, key: z.string(), name: z.string(), classes: z.array(projectClass) })
  .openapi('CreatedProject');
export const newKey = z.object({ key: z.string() }).openapi('Key');
export const renaming = z.object({ name }).openapi('Renaming');

/** A file's name is shown and nothing else, so it may be anything; what could deceive is taken out. */
const fileName = z
  .string()
  .max(10_000)
  .transform(
    (value) =>
      value.normalize('NFC').replaceAll(new RegExp(unprintable, 'gu'), '').trim().slice(-200).toWellFormed() ||
      'picture',
  )
  .openapi({ type: 'string', example: 'cat.jpg' });
const burst = z.string().min(1).max(100).openapi({
  description:
    'An id that frames taken in one go have in common: a model is never tested on one of them after it learned from another',
});
export const newUploads = z
  .object({
    files: z
      .array(
        z.object({
          name: fileName,
          type: z.string().max(200),
          bytes: z.number().int().min(0),
          burst: burst.optional(),
        }),
      )
      .min(1)
      .max(200),
  })
  .openapi('NewUploads');
export const moving = z.object({ classId: id }).openapi('Moving');
export const backbone = z
  .object({
    name: z.string(),
    words: orNull(z.string()),
    megabytes: orNull(z.number()),
    license: orNull(z.string()).openapi({ description: 'An SPDX name; one with NC in it forbids commercial use' }),
  })
  .openapi('Backbone');
export const newRun = z
  .object({ stage: z.string().optional(), backbone: z.string().optional() })
  .openapi('NewRun', { description: `Stages: ${stages.join(', ')}. Backbones: those of /api/backbones.` });
export const imageQuery = z.object({
  class: z.string().optional(),
  state: z.enum(imageStates).optional(),
  ids: z.string().optional(),
  cursor: z.string().optional(),
});
