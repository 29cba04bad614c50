/** What others say of the manifests: Kubernetes's own schemas, the CRDs of what is installed beside, and checkov. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Testing } from 'cdk8s';
import { describe, expect, test } from 'vitest';
import { createCluster } from '../../../infra/cluster/cluster.ts';
import { exceptions } from './exceptions.ts';
import { environments, manifestsOf } from './support.ts';

const run = promisify(execFile);
const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const bin = path('../../../.venv/scan/bin/');
/** Beside the checkout of those who have it; the typed packages' validators have run before in any case. */
const definitions = path('../../../../shared/crds');

describe.each(Object.entries(environments))('manifests of %s', (name, environment) => {
  const { outdir } = Testing.app();
  createCluster(environment, outdir).synth();

  test('fit the schemas, without a field that these do not know', async () => {
    const folder = existsSync(definitions) ? definitions : '-';
    const files = readdirSync(outdir).map((file) => join(outdir, file));
    const { stdout } = await run(`${bin}python`, [path('./schemas.py'), '1.35', folder, ...files]);
    const [, kubernetes, custom, unchecked] = /(\d+) kubernetes (\d+) definitions (\d+) unchecked/
      .exec(stdout)!
      .map(Number);
    expect(kubernetes! + custom! + unchecked!).toBe(manifestsOf(environment).length);
    if (folder !== '-') expect(unchecked).toBe(0);
  }, 120_000);

  test('give checkov nothing but the exceptions that are named', async () => {
    const options = ['--framework', 'kubernetes', '--output', 'json', '--soft-fail', '--skip-download', '--quiet'];
    const { stdout } = await run(`${bin}checkov`, ['--directory', outdir, ...options], { maxBuffer: 100_000_000 });
    const { results, summary } = JSON.parse(stdout);
    expect(summary.passed).toBeGreaterThan(300);
    const failed: { check_id: string; resource: string }[] = results.failed_checks;
    const unnamed = failed.filter(({ check_id }) => !exceptions[check_id]?.environments.includes(name));
    expect(unnamed.map(({ check_id, resource }) => `${check_id} ${resource}`)).toEqual([]);
    const unused = Object.entries(exceptions).filter(
      ([check, { environments }]) => environments.includes(name) && !failed.some(({ check_id }) => check_id === check),
    );
    expect(unused).toEqual([]);
  }, 300_000);
});
