/** AWS, in Seoul. The account, the names, the certificate and the images' digests are those of an example: put yours. */
import type { Environment } from '../environment.ts';

export default {
  namespace: 'ai-teacher',
  images: {
    functions:
      '123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/ai-teacher-functions@sha256:1111111111111111111111111111111111111111111111111111111111111111',
    trainer:
      '123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/ai-teacher-trainer@sha256:2222222222222222222222222222222222222222222222222222222222222222',
  },
  urls: {
    studio: 'https://studio.ai-teacher.example.org',
    export: 'https://export.ai-teacher.example.org',
    predict: 'https://predict.ai-teacher.example.org',
  },
  gateway: { namespace: 'kourier-system', proxies: 3 },
  functions: { maxScale: { studio: 10, export: 10, predict: 10 }, retentionSeconds: 300 },
  trainer: {
    device: { gpu: 'g5', wheels: 'cuda13' },
    maxReplicas: 4,
    pollingSeconds: 10,
    cooldownSeconds: 300,
  },
  aws: {
    account: '123456789012',
    region: 'ap-northeast-2',
    bucket: 'ai-teacher-example-org',
    secret: 'ai-teacher/production',
  },
  postgres: { cidr: '10.0.0.0/16', port: 5432 },
  kops: {
    name: 'ai-teacher.example.org',
    stateStore: 's3://ai-teacher-example-org-kops',
    discoveryStore: 's3://ai-teacher-example-org-oidc',
    zones: ['ap-northeast-2a', 'ap-northeast-2b', 'ap-northeast-2c'],
    network: '10.0.0.0/16',
    apiAccess: ['203.0.113.0/24'],
    nodes: { machine: 't3.large', min: 2, max: 6 },
    spot: true,
  },
  knative: {
    domain: 'ai-teacher.example.org',
    certificateArn: 'arn:aws:acm:ap-northeast-2:123456789012:certificate/00000000-0000-0000-0000-000000000000',
  },
} satisfies Environment;
