/**
 * The job that makes the secrets of a cluster without a secrets manager: random, once, known to nobody but the cluster. Secrets
 * that exist stay as they are. NODE_EXTRA_CA_CERTS names the API server's certificate authority.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

const account = '/var/run/secrets/kubernetes.io/serviceaccount';
const token = readFileSync(`${account}/token`, 'utf8');
const namespace = readFileSync(`${account}/namespace`, 'utf8');
const random = (bytes: number) => randomBytes(bytes).toString('hex');

async function create(name: string, stringData: Record<string, string>): Promise<void> {
  const answer = await fetch(`https://kubernetes.default.svc/api/v1/namespaces/${namespace}/secrets`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { name }, type: 'Opaque', stringData }),
  });
  const conflict = 409;
  if (!answer.ok && answer.status !== conflict) {
    throw new Error(`Expected to create the secret ${name}, got ${answer.status}: ${await answer.text()}`);
  }
  console.log(`${name}: ${answer.ok ? 'made' : 'is there already, left as it is'}`);
}

const postgresPassword = random(24);
// One secret: its values depend on each other, and an object appears whole or not at all.
await create('ai-teacher', {
  POSTGRES_PASSWORD: postgresPassword,
  DATABASE_URL: `postgres://ai_teacher:${postgresPassword}@postgres:5432/postgres`,
  SIGNING_SECRET: random(32),
  AWS_ACCESS_KEY_ID: random(10).toUpperCase(),
  AWS_SECRET_ACCESS_KEY: random(20),
});
