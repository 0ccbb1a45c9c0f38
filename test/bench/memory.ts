/** Peak memory during some work. */
import { readFile } from 'node:fs/promises';
import type { Observed } from './surroundings.ts';

const SAMPLE_MILLISECONDS = 50;

export interface Watched {
  /** Bytes of the heap and of its buffers. */
  readonly isolate: number;
  /** Resident bytes of workerd. */
  readonly process: number;
  readonly samples: number;
}

export async function watch({ inspector, pid }: Observed, work: () => Promise<unknown>): Promise<Watched> {
  let [samples, inProcess] = [0, 0];
  const isolate = await peakOf(async () => {
    samples++;
    inProcess = Math.max(inProcess, await residentBytes(pid));
    return inspector.memory();
  }, work);
  return { isolate, process: inProcess, samples };
}

/** Returns the greatest sample before, during and after the work. */
export async function peakOf(sample: () => Promise<number>, work: () => Promise<unknown>): Promise<number> {
  let peak = await sample();
  const progress = { isDone: false };
  const sampling = (async () => {
    while (!progress.isDone) {
      peak = Math.max(peak, await sample());
      await new Promise((done) => setTimeout(done, SAMPLE_MILLISECONDS));
    }
  })();
  try {
    await work();
  } finally {
    progress.isDone = true;
    await sampling;
  }
  return Math.max(peak, await sample());
}

/** Returns the resident bytes of a process. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

export function inMebibytes(bytes: number, signed = false): string {
  const mebibytes = Math.round(bytes / 1024 / 1024);
  return `${signed ? (mebibytes < 0 ? '- ' : '+ ') : ''}${signed ? Math.abs(mebibytes) : mebibytes} MiB`;
}
