/** Memory while large blobs are pushed and pulled: of the isolate, and of the process compared with the floor's. */
import { largeContent } from '../content.ts';
import { call } from '../http.ts';
import { inMebibytes, peakOf, residentBytes, watch, type Watched } from '../memory.ts';
import { workerdsOfThis } from '../processes.ts';
import { outcome, type Row } from '../row.ts';
import type { Surroundings } from '../surroundings.ts';

const MIB = 1024 * 1024;
const ISOLATE_LIMIT = 32 * MIB;
const ISOLATE_LIMIT_AT_ONCE = 96 * MIB;
const PROCESS_LIMIT = 64 * MIB;
const AT_ONCE = 16;

/** Returns the peak of the floor's process while it writes as much in parts, and reads it. */
async function floorPeak(surroundings: Surroundings, bytes: number): Promise<number> {
  const before = new Set(await workerdsOfThis());
  const floor = await surroundings.startFloor();
  const pid = (await workerdsOfThis()).find((each) => !before.has(each));
  if (pid === undefined) throw new Error('no workerd was started');
  const body = largeContent(bytes);
  try {
    return await peakOf(
      () => residentBytes(pid),
      async () => {
        await call(201, { port: floor.port, method: 'PUT', path: '/put-parts?key=large', body, chunked: true });
        await call(200, { port: floor.port, method: 'GET', path: '/get?key=large' });
      },
    );
  } finally {
    await floor.stop();
  }
}

export const memory: readonly Row[] = [
  {
    name: 'memory: 1 GiB pushed without Content-Length, and pulled',
    mustReach: `isolate ≤ ${inMebibytes(ISOLATE_LIMIT)}, process ≤ floor + ${inMebibytes(PROCESS_LIMIT)}`,
    boundBy:
      'isolate: one buffer of 8 MiB, and the code; process: the simulators, which hold bytes on their way to the disk',
    run: async (surroundings) => {
      const bytes = surroundings.tiny ? 32 * MIB : 1024 * MIB;
      const floor = await floorPeak(surroundings, bytes);
      const berth = await surroundings.startObserved();
      const { central } = berth;
      try {
        await central.logIn();
        const content = largeContent(bytes);
        const push = await watch(berth, () => central.pushByPatch(content, content.digest, true));
        await central.logIn();
        const pull = await watch(berth, () => central.request(200, 'GET', `blobs/${content.digest}`));
        const peak: Watched = {
          isolate: Math.max(push.isolate, pull.isolate),
          process: Math.max(push.process, pull.process),
          samples: push.samples + pull.samples,
        };
        return outcome(
          `isolate ${inMebibytes(peak.isolate)}, process floor ${inMebibytes(peak.process - floor, true)}`,
          [
            ...(peak.isolate <= ISOLATE_LIMIT ? [] : ['the isolate has more']),
            ...(peak.process <= floor + PROCESS_LIMIT ? [] : ['the process has more']),
          ],
          `isolate: push ${inMebibytes(push.isolate)}, pull ${inMebibytes(pull.isolate)}; ` +
            `process: push ${inMebibytes(push.process)}, pull ${inMebibytes(pull.process)}, floor ${inMebibytes(floor)}; ` +
            `${peak.samples} samples`,
          { push, pull, floor },
        );
      } finally {
        await berth.stop();
      }
    },
  },
  {
    name: `memory: ${AT_ONCE} pushes of 64 MiB at once, without Content-Length`,
    mustReach: `all succeed, isolate ≤ ${inMebibytes(ISOLATE_LIMIT_AT_ONCE)}`,
    boundBy: 'the budget of 54 MiB that all bodies of an isolate share',
    run: async (surroundings) => {
      const bytes = surroundings.tiny ? 9 * MIB : 64 * MIB;
      const berth = await surroundings.startObserved();
      const { central } = berth;
      try {
        await central.logIn();
        const contents = Array.from({ length: AT_ONCE }, () => largeContent(bytes));
        const peak = await watch(berth, () =>
          Promise.all(contents.map((content) => central.pushByPatch(content, content.digest, true))),
        );
        await central.logIn();
        for (const { digest } of contents) await central.request(200, 'HEAD', `blobs/${digest}`);
        return outcome(
          `isolate ${inMebibytes(peak.isolate)}`,
          peak.isolate <= ISOLATE_LIMIT_AT_ONCE ? [] : ['the isolate has more'],
          `${AT_ONCE} of ${AT_ONCE} succeeded; process ${inMebibytes(peak.process)}; ${peak.samples} samples`,
          { ...peak },
        );
      } finally {
        await berth.stop();
      }
    },
  },
];
