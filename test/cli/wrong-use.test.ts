import { expect, test } from 'vitest';
import { berth } from './support/berth.ts';

test.each([
  [['org', 'ls'], {}, /'--host <host>' not specified/],
  [['history', 'alice/app'], {}, /alice\/app does not name a registry: write HOST\/alice\/app, or set BERTH_HOST/],
  [['history', '127.0.0.1:1/Alice/app'], {}, /must be lowercase/],
  [['restore', '127.0.0.1:1/alice/app:1', 'yesterday'], {}, /take it from berth history/],
  [['credential', 'create', 'x'], { BERTH_HOST: '127.0.0.1:1' }, /--org.*--kind/],
  [['quota', 'acme', 'much'], { BERTH_HOST: '127.0.0.1:1' }, /Write a size as 10GB/],
  [['mirror', 'set', 'hub', 'hub', '--stale', 'ever'], { BERTH_HOST: '127.0.0.1:1' }, /Write a duration as 90s/],
  [['mirror', 'set', 'hub', 'hub', '--password-stdin'], { BERTH_HOST: '127.0.0.1:1' }, /needs --username/],
  [['import', 'acme', 'hub', 'a', '--login-host', 'b'], { BERTH_HOST: '127.0.0.1:1' }, /needs --username/],
  [['wait', '127.0.0.1:1/alice/app:1', '--timeout', 'long'], {}, /Write a duration as 90s/],
  [['org', 'ls', '--host', 'a b'], {}, /^berth: 'a b' is not a host: /],
  [['org', 'ls', '--host', '127.0.0.1:port'], {}, /^berth: '127\.0\.0\.1:port' is not a host: /],
  [['gateway', 'https://'], {}, /^berth: 'https:\/\/' is not a host: /],
  [['gateway', '127.0.0.1:99999'], {}, /^berth: '127\.0\.0\.1:99999' is not a host: /],
  [['push', '--chunk', '257', 'app.tar', '127.0.0.1:1/alice/app'], {}, /A chunk has 1 to 256 MiB/],
])('%j is wrong use', async (args, env, message) => {
  expect(await berth(args, { env })).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) });
});

test('a host without a registry is named', async () => {
  const { code, stderr } = await berth(['org', 'ls', '--host', '127.0.0.1:1']);
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^berth: 127\.0\.0\.1:1: .*check that the registry runs/)]);
});
