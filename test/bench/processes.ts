/** Lists the workerd processes that this process has started. */
import { readdir, readFile } from 'node:fs/promises';

export async function workerdsOfThis(): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return stat.includes('(workerd)') && Number(parent) === process.pid;
    }),
  );
  return pids.filter((_pid, i) => found[i]);
}
