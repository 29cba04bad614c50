import { spawn, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { takeFolder } from '../../trainer/room.ts';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'ai-teacher-room-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

test('what killed trainers left is removed; what others are at is not', async () => {
  const alive = spawn('sleep', ['60']);
  try {
    const nameOf = (pid: number | string, host = hostname()) => `ai-teacher-${host}-${pid}`;
    const dead = spawnSync('true').pid;
    const kept = [nameOf(alive.pid!), nameOf(dead, 'another-pod'), nameOf(''), `${nameOf(dead)}.txt`, 'photos'];
    for (const name of [nameOf(dead), nameOf(process.pid), ...kept]) {
      await mkdir(join(scratch, name, 'run-1'), { recursive: true });
      await writeFile(join(scratch, name, 'run-1', 'model.pt'), 'x');
    }
    const own = await takeFolder(scratch);
    expect(basename(own)).toBe(nameOf(process.pid));
    expect((await readdir(scratch)).sort()).toEqual([...kept, basename(own)].sort());
    expect(await readdir(own)).toEqual([]);
  } finally {
    alive.kill();
  }
});
