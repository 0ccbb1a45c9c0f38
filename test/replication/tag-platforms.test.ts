/** The platforms of images that no index lists, which pages of tags read from their configs. */
import { beforeEach, expect, test } from 'vitest';
import { platformIn } from '../../src/replication/tag-platforms.ts';
import { REPOSITORY } from '../support/away.ts';
import { addUsers } from '../support/client.ts';
import { resetCounts } from '../support/counting.ts';
import { contentDigest, imageOf, utf8 } from '../support/fixture.ts';
import { type HostName, ThreeHosts } from '../support/three-hosts.ts';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

/** Pushes an image that has only a config. */
async function push(host: HostName, tag: string, config: object | string): Promise<void> {
  const bytes = utf8(typeof config === 'string' ? config : JSON.stringify(config));
  expect((await hosts.putBlob(host, REPOSITORY, bytes)).status).toBe(201);
  const image = await imageOf(await contentDigest(bytes), []);
  expect((await hosts.putManifest(host, REPOSITORY, tag, image)).status).toBe(201);
}

/** Returns the platforms of each tag. */
async function platforms(): Promise<Record<string, readonly string[]>> {
  const answer = await hosts.call('central', 'GET', `/api/organizations/alice/repositories/app/tags`);
  const { tags } = JSON.parse(new TextDecoder().decode(answer.bytes)) as {
    tags: { name: string; platforms: string[] }[];
  };
  return Object.fromEntries(tags.map((tag) => [tag.name, tag.platforms]));
}

test('the first page that shows an image reads its config, and later ones do not', async () => {
  await push('central', 'arm', { os: 'linux', architecture: 'arm64', variant: 'v8' });
  await push('central', 'none', { name: 'a chart' });
  for (const classB of [2, 0]) {
    resetCounts(hosts.counts.central);
    expect(await platforms()).toEqual({ arm: ['linux/arm64/v8'], none: [] });
    expect(hosts.counts.central.classB).toBe(classB);
  }
});

test('a config that names no platform is read once, although several stores have it', async () => {
  await push('node1', 'none', { name: 'a chart' });
  await hosts.drain();
  for (const reads of [1, 0, 0]) {
    for (const counts of Object.values(hosts.counts)) resetCounts(counts);
    expect(await platforms()).toEqual({ none: [] });
    expect(hosts.counts.central.classB + hosts.counts.node1.classB).toBe(reads);
  }
});

test('a config is read at the node that has it while central does not', async () => {
  await push('node1', 'amd', { os: 'linux', architecture: 'amd64' });
  expect(await platforms()).toEqual({ amd: ['linux/amd64'] });
  await hosts.drain();
  resetCounts(hosts.counts.central);
  expect(await platforms()).toEqual({ amd: ['linux/amd64'] });
  expect(hosts.counts.central.classB).toBe(0);
});

test('a page reads ten configs, and the next one the others', async () => {
  for (let i = 0; i < 12; i++) await push('central', `v${i}`, { os: 'linux', architecture: `amd${i}` });
  for (const shown of [10, 12]) {
    expect(Object.values(await platforms()).filter((each) => each.length === 1)).toHaveLength(shown);
  }
});

test('a page shows no platform while the config is away or too large', async () => {
  await push('central', 'away', { os: 'linux', architecture: 'amd64' });
  await push('central', 'large', { os: 'linux', architecture: 'amd64', author: 'x'.repeat(64 * 1024) });
  hosts.takeAway('central R2');
  expect(await platforms()).toEqual({ away: [], large: [] });
  hosts.giveBack();
  expect(await platforms()).toEqual({ away: ['linux/amd64'], large: [] });
});

test.each([
  ['{"os":"linux","architecture":"arm","variant":"v7"}', 'linux/arm/v7'],
  ['{"os":"linux","architecture":"arm","variant":7}', 'linux/arm'],
  ['{"os":"linux"}', ''],
  ['{"os":{},"architecture":["x"]}', ''],
  ['{}', ''],
  ['no JSON', ''],
  [JSON.stringify({ os: 'x'.repeat(200), architecture: 'y' }), 'x'.repeat(100)],
  [`${'['.repeat(30_000)}${']'.repeat(30_000)}`, ''],
])('the config %j names the platform %j', (text, platform) => {
  expect(platformIn(text)).toBe(platform);
});
