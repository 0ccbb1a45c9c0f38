import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { lineOf, openLog } from '../../src/local/log-file.ts';

const TIME = '2026-11-30T06:20:59.123Z';
const timestamp = Date.parse(TIME);

test('a line of the Worker is written unchanged', () => {
  const message = `{"time":"${TIME}","requestId":"1"}`;
  expect(lineOf({ timestamp: 0, level: 'info', message })).toBe(message);
});

test.each([
  ['a line of workerd', 'kj/async-io.c++:1: failed: "x"'],
  ['one of several lines', 'Error: x\n    at y'],
  ['a line that only starts like one of the Worker', '{"time":"now", and no more'],
  ['two lines of the Worker in one message', `{"time":"${TIME}"}\n{"time":"${TIME}"}`],
])('%s becomes an object with its time first', (_, message) => {
  const line = lineOf({ timestamp, level: 'error', message });
  expect(line).not.toContain('\n');
  expect(line.startsWith(`{"time":"${TIME}",`)).toBe(true);
  expect(JSON.parse(line)).toEqual({ time: TIME, level: 'error', workerd: message });
});

test('a log is appended to, and only its owner may read it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'berth-log-'));
  try {
    const path = join(folder, 'log.jsonl');
    for (const message of ['first', 'second']) {
      const log = openLog(path);
      log.write({ timestamp, level: 'info', message });
      await log.end();
    }
    expect(
      (await readFile(path, 'utf8'))
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { workerd: string }).workerd),
    ).toEqual(['first', 'second']);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a full disk does not end the process', async () => {
  const log = openLog('/dev/full');
  for (let i = 0; i < 3; i++) {
    log.write({ timestamp, level: 'info', message: 'x' });
    await new Promise((done) => setImmediate(done));
  }
  await log.end();
});
