/** Objects of kinds that cdk8s-plus-27 does not know, typed and checked. */
import { ApiObject, type ApiObjectMetadata } from 'cdk8s';
import type { Construct } from 'constructs';

/** An object of the packages of @kubernetes-models, which checks itself against its schema. */
interface Model {
  validate(): void;
  toJSON(): unknown;
}

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata?: ApiObjectMetadata;
  [field: string]: unknown;
}

/** @throws Error naming the construct's path and the fields that are missing or wrong. */
export function addModel(scope: Construct, id: string, model: Model): ApiObject {
  try {
    model.validate();
  } catch (cause) {
    throw new Error(`${scope.node.path}/${id}: ${(cause as Error).message}`, { cause });
  }
  return new ApiObject(scope, id, JSON.parse(JSON.stringify(model.toJSON())) as Manifest);
}
