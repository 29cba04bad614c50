/** What the scanners find and we keep, each with its reason. infra/README.md shows the same list. */
export const exceptions: Record<string, { environments: string[]; reason: string }> = {
  CKV_K8S_15: {
    environments: ['local'],
    reason: 'pull policy Always: images that are built on the spot are in no registry',
  },
  CKV_K8S_35: {
    environments: ['production', 'local'],
    reason: 'secrets as files: every program takes its settings from its environment, as the contract has it',
  },
  CKV_K8S_8: {
    environments: ['production', 'local'],
    reason:
      'liveness: a trainer that hangs loses its lease and another goes on; a Postgres that recovers must not be ended',
  },
  CKV_K8S_9: {
    environments: ['production', 'local'],
    reason: 'readiness: nobody sends requests to a trainer',
  },
  CKV_K8S_43: { environments: ['local'], reason: 'digests: images that are built on the spot have none' },
  CKV_K8S_38: {
    environments: ['local'],
    reason: 'token: the secrets job creates Secrets with it, and may do nothing else',
  },
};
