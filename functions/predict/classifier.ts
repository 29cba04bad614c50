/** A model that is ready to be asked: its ONNX in a session of onnxruntime. */
import { z } from 'zod';
import { findArtifact, readArtifact } from '#shared/artifacts.ts';
import type { Database } from '#shared/database.ts';
import type { AccessibleModel } from '#shared/model-access.ts';
import type { Picture } from './picture.ts';

export interface Classifier {
  classify: (picture: Picture) => Promise<Answer>;
  release: () => Promise<void>;
}

interface Answer {
  /** In the order of the model's classes. */
  probabilities: Float32Array;
  /** The answer means "I don't know": the model is too unsure, or the picture too unlike what it learned. */
  unknown: boolean;
}

/** Thresholds that come from the learner's own pictures; none where the model does not say. */
const report = z.object({ unknownBelow: z.number().nullish(), unfamiliarBelow: z.number().nullish() });

/** @throws Error when the model's files are missing, damaged, or not what a model is. */
export async function loadClassifier(db: Database, model: AccessibleModel): Promise<Classifier> {
  const [onnx, said, { InferenceSession, Tensor }] = await Promise.all([
    readAll(db, model.id, 'model.onnx'),
    readAll(db, model.id, 'report.json'),
    import('onnxruntime-node'),
  ]);
  const session = await InferenceSession.create(onnx, {
    // A run blocks the process until it is done: more threads would take cores from the decoding of what comes next.
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // Every picture has its own size: what an arena keeps for the largest one is memory lost to all others.
    enableCpuMemArena: false,
    enableMemPattern: false,
    logSeverityLevel: 3,
  });
  const [input, output] = [session.inputNames[0]!, session.outputNames[0]!];
  const { unknownBelow, unfamiliarBelow } = report.parse(JSON.parse(said.toString()));
  return {
    classify: async ({ width, height, pixels }) => {
      const tensor = new Tensor('uint8', pixels, [1, height, width, 3]);
      const { [output]: answer, familiarity } = await session.run({ [input]: tensor });
      const probabilities = answer?.data;
      if (!(probabilities instanceof Float32Array) || probabilities.length !== model.classes.length) {
        const came = `${answer?.type} of ${answer?.dims}`;
        throw new Error(`Expected ${model.classes.length} probabilities of model ${model.id}, got ${came}.`);
      }
      const known = familiarity?.data[0];
      const unfamiliar = unfamiliarBelow != null && typeof known === 'number' && known < unfamiliarBelow;
      return { probabilities, unknown: unfamiliar || Math.max(...probabilities) < (unknownBelow ?? 0) };
    },
    release: () => session.release(),
  };
}

async function readAll(db: Database, modelId: string, name: string): Promise<Buffer> {
  const artifact = await findArtifact(db, modelId, name);
  if (!artifact) throw new Error(`Model ${modelId} has no ${name}.`);
  const all = Buffer.allocUnsafeSlow(artifact.bytes);
  let at = 0;
  for await (const piece of readArtifact(db, modelId, artifact)) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
