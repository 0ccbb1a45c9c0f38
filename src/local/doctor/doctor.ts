/**
 * `npm run doctor -- <url>`: examines a deployment from outside, as its clients and operators see it. It pushes to a
 * repository of its own, and removes it whatever happens, even after Ctrl-C.
 */
import { parseArguments, WrongUse } from './arguments.ts';
import type { Line } from './line.ts';
import { formatDocument, formatLine, formatSummary } from './report.ts';
import { examine } from './run.ts';

const FAILED = 1;
const WRONGLY_USED = 2;

/** Exit statuses of a process that a signal ended, by convention. */
const INTERRUPTED = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Runs the command, and returns its exit status. */
async function main(): Promise<number> {
  const options = parseArguments(process.argv.slice(2), process.env);
  const lines: Line[] = [];
  const stopping = new AbortController();
  let status = 0;
  for (const [name, ended] of Object.entries(INTERRUPTED)) {
    process.on(name, () => {
      // The second signal ends the process.
      if (stopping.signal.aborted) process.exit(ended);
      status = ended;
      console.error('\nCleaning up. Interrupt once more to stop at once.');
      stopping.abort(new Error('stopped'));
    });
  }
  // An error here means that nobody reads the lines any more, as after `| head`. The doctor still cleans up.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', () => {
      status ||= FAILED;
      stopping.abort(new Error('stopped'));
    });
  }
  try {
    for await (const line of examine(options, stopping.signal)) {
      lines.push(line);
      if (!options.json) console.log(formatLine(line));
    }
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
  }
  console.log(options.json ? formatDocument(options.url, lines) : formatSummary(lines));
  if (status !== 0) return status;
  return lines.some(({ outcome }) => outcome === 'failure') ? FAILED : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof WrongUse ? error.message : error);
  process.exitCode = error instanceof WrongUse ? WRONGLY_USED : FAILED;
}
