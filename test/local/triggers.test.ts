/** `wrangler.toml` names the cron triggers that the Worker tells apart. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { WRANGLER_TOML } from '../../src/local/wrangler-toml.ts';
import { EACH_HOUR, EACH_MINUTE, isHourly } from '../../src/maintenance/triggers.ts';

test('local runs and deployments have a trigger of each minute and one of each hour', async () => {
  const lines = (await readFile(WRANGLER_TOML, 'utf8')).matchAll(/^crons = (\[.*?\])/gm);
  const crons = Array.from(lines, ([, list = '']) => JSON.parse(list) as unknown);
  expect(crons).toEqual([
    [EACH_MINUTE, EACH_HOUR],
    [EACH_MINUTE, EACH_HOUR],
  ]);
});

test('a trigger that names minutes of the hour is hourly', () => {
  expect([EACH_HOUR, '0 * * * *', '23,53 * * * *'].map(isHourly)).toEqual([true, true, true]);
  expect([EACH_MINUTE, '*/5 * * * *', ''].map(isHourly)).toEqual([false, false, false]);
});
