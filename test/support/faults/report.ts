/** How often a row is repeated, its random moments, and the line that it prints. */
import { appendFileSync } from 'node:fs';
import { random } from '../pictures.ts';

const full = process.env.FAULTS === 'full';

/** Repetitions of the full form (`npm run test:faults`), or of the short one (`npm test`). */
export const times = (short: number, all: number): number => (full ? all : short);

/** Printed with every line: FAULTS_SEED repeats a run's random moments. */
const seed = Number(process.env.FAULTS_SEED || Date.now() % 1_000_000);

/** Random numbers from 0 to 1 of a row, from the run's seed. */
export const chanceOf = (row: number): (() => number) => random(seed * 31 + row);

/** Prints `row | what was done | how often | figure | goal`; in the file of FAULTS_REPORT too, if one is named. */
export function tell(row: number, done: string, often: string | number, figure: string, goal: string): void {
  const line = `${row} | ${done} | ${often} | ${figure} | ${goal} (seed ${seed})`;
  process.stdout.write(`${line}\n`);
  if (process.env.FAULTS_REPORT) appendFileSync(process.env.FAULTS_REPORT, `${line}\n`);
}
