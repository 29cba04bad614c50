import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

export const python = process.env.PYTHON || '.venv/bin/python';

/** The output of a Python program of test/fixtures, which finds the trainer's modules. */
export async function runPython(program: string, args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(python, [`test/fixtures/${program}`, ...args], {
    env: { ...process.env, PYTHONPATH: '.' },
    maxBuffer: 1e8,
  });
  return stdout;
}
