/** Seconds of each part of a run. */
export interface Stopwatch {
  seconds: Record<string, number>;
  /** Ends a part: all since the last one ended. */
  lap: (part: string) => void;
}

export function stopwatch(known: Record<string, number>): Stopwatch {
  const seconds = { ...known };
  let began = performance.now();
  return {
    seconds,
    lap: (part) => {
      const now = performance.now();
      seconds[part] = Math.round(now - began) / 1000;
      began = now;
    },
  };
}
