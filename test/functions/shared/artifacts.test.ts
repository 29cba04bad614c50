import { execFileSync } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chunkBytes, findArtifact, readArtifact, writeArtifact } from '#shared/artifacts.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';
import { insertModel, insertProject } from '../../support/rows.ts';

let postgres: TestDatabase;
let projectId: string;
let folder: string;
beforeAll(async () => {
  postgres = await createTestDatabase();
  projectId = (await insertProject(postgres.db)).id;
  folder = await mkdtemp(join(tmpdir(), 'ai-teacher-artifacts-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await postgres.close();
});

async function read(
  modelId: string,
  artifact: Parameters<typeof readArtifact>[2],
  range?: { start: number; end: number },
) {
  const pieces: Uint8Array[] = [];
  for await (const piece of readArtifact(postgres.db, modelId, artifact, range)) pieces.push(piece);
  return Buffer.concat(pieces);
}

test.each([0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3 * chunkBytes + 7])(
  '%d bytes: written, described, read back',
  async (bytes) => {
    const data = randomBytes(bytes);
    const { id } = await insertModel(postgres, projectId, { 'a.bin': data });
    const artifact = (await findArtifact(postgres.db, id, 'a.bin'))!;
    expect(artifact).toEqual({
      name: 'a.bin',
      type: 'application/octet-stream',
      bytes,
      sha256: createHash('sha256').update(data).digest('hex'),
    });
    expect((await read(id, artifact)).equals(data)).toBe(true);
    const [counted] = await postgres.sql`select count(*)::int as chunks from chunks where model_id = ${id}`;
    expect(counted?.chunks).toBe(Math.ceil(bytes / chunkBytes));
  },
);

test('any range gives its own bytes', async () => {
  const data = randomBytes(2 * chunkBytes + 100);
  const { id, artifacts } = await insertModel(postgres, projectId, { 'a.bin': data });
  const edges = [0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 2 * chunkBytes, data.length - 1, data.length];
  for (const start of edges) {
    for (const end of edges) {
      const part = await read(id, artifacts[0]!, { start, end });
      expect(part.equals(data.subarray(start, Math.max(start, end))), `${start} to ${end}`).toBe(true);
    }
  }
});

test('a model that is not published has no artifact to find', async () => {
  const { id } = await insertModel(postgres, projectId, { 'a.bin': randomBytes(9) }, { published: false });
  expect(await findArtifact(postgres.db, id, 'a.bin')).toBeNull();
});

test('a changed, a missing, a swapped chunk: each is found', async () => {
  const data = randomBytes(3 * chunkBytes);
  for (const [tamper, message] of [
    [
      'update chunks set data = set_byte(data, 9, get_byte(data, 9) # 1) where index = 1 and model_id =',
      /Chunk 1 .* digest/,
    ],
    ['delete from chunks where index = 2 and model_id =', /Chunk 2 .* missing/],
    ['update artifacts set sha256 = repeat(chr(48), 64) where model_id =', /a\.bin .* digest/],
  ] as const) {
    const { id } = await insertModel(postgres, projectId, { 'a.bin': data });
    await postgres.sql.unsafe(`${tamper} '${id}'`);
    const artifact = (await findArtifact(postgres.db, id, 'a.bin'))!;
    await expect(read(id, artifact), tamper).rejects.toThrow(message);
  }
  expect.assertions(3);
});

test('a write that fails says why, leaves nothing, and the connection serves on', async () => {
  const { id } = await insertModel(postgres, projectId, {});
  const gone = { name: 'a.bin', type: 'x/y', path: join(folder, 'gone') };
  await expect(writeArtifact(postgres, id, gone)).rejects.toThrow('ENOENT');
  const path = join(folder, 'there');
  await writeFile(path, randomBytes(chunkBytes + 1));
  await writeArtifact(postgres, id, { ...gone, path });
  await expect(writeArtifact(postgres, id, { ...gone, path })).rejects.toThrow(/duplicate key/);
  const rows = await postgres.sql`select name from chunks where model_id = ${id}`;
  expect(rows).toHaveLength(2);
  const erased = randomUUID();
  for (const data of [randomBytes(9), randomBytes(5 * chunkBytes)]) {
    await writeFile(path, data);
    await expect(writeArtifact(postgres, erased, { ...gone, path })).rejects.toThrow(/foreign key/);
  }
  const waiting = await postgres.sql`select 1 from pg_stat_activity where state like 'idle in transaction%'`;
  expect(waiting).toHaveLength(0);
});

test('many readers at once on a few connections, some of whom leave early', async () => {
  const data = randomBytes(3 * chunkBytes + 5);
  const { id, artifacts } = await insertModel(postgres, projectId, { 'a.bin': data });
  const readers = Array.from({ length: 20 }, async (_, at) => {
    if (at % 4 > 0) return (await read(id, artifacts[0]!)).equals(data);
    for await (const piece of readArtifact(postgres.db, id, artifacts[0]!)) return piece.length === chunkBytes;
    return false;
  });
  expect(await Promise.all(readers)).toEqual(Array(20).fill(true));
});

test('a connection that ends in mid-write fails the write, and the next one goes through', async () => {
  const { id } = await insertModel(postgres, projectId, {});
  const path = join(folder, 'slow');
  execFileSync('mkfifo', [path]);
  const writing = writeArtifact(postgres, id, { name: 'a.bin', type: 'x/y', path });
  const refused = expect(writing).rejects.toThrow();
  const pipe = await open(path, 'r+');
  await pipe.write(randomBytes(1000));
  const copying = () => postgres.sql`select pid from pg_stat_activity where query like 'copy %' and state = 'active'`;
  await expect.poll(copying).toHaveLength(1);
  await postgres.sql`select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy %' and state = 'active'`;
  await refused;
  await pipe.close();
  const there = join(folder, 'there');
  await writeFile(there, 'abc');
  expect(await writeArtifact(postgres, id, { name: 'a.bin', type: 'x/y', path: there })).toMatchObject({ bytes: 3 });
});
