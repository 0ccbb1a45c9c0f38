/** Pages for those who operate the registry: queues and maintenance, with their actions. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { countMaintenance, saveTask } from '../../src/maintenance/task-rows.ts';
import { Database } from '../../src/stores/database.ts';
import { addUsers, callApi } from '../support/client.ts';
import { STOPPED_TASK } from '../support/maintenance.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import { Reader } from './support.ts';

const APP = 'alice/app';

let hosts: ThreeHosts;
let reader: Reader;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
  reader = await Reader.signedIn('admin');
});

describe.each(['/', '/replication/node1'])('%s', (page) => {
  test('pauses a queue, and resumes it', async () => {
    expect(await reader.text(page)).toContain('>Pause node1<');
    await reader.submit(page, '/replication/node1/paused');
    for (const text of ['>paused<', '>Resume node1<']) expect(await reader.text(page)).toContain(text);
    await reader.submit(page, '/replication/node1/paused');
    expect(await reader.text(page)).not.toContain('>paused<');
  });

  test('wakes a queue', async () => {
    const answer = await reader.submit(page, '/replication/node1/retry');
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/replication/node1']);
    const { entries } = await (await callApi('GET', 'audit', 'admin')).json<{ entries: { action: string }[] }>();
    expect(entries[0]?.action).toBe('retry jobs');
  });
});

test('the page of a queue has its node announce everything again', async () => {
  const answer = await reader.submit('/replication/node1', '/replication/node1/announce-all');
  expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/replication/node1']);
  const { entries } = await (await callApi('GET', 'audit', 'admin')).json<{ entries: { action: string }[] }>();
  expect(entries[0]?.action).toBe('announce all');
});

describe('maintenance', () => {
  beforeEach(() => new Database(env.DB_NODE1!).batch([saveTask(STOPPED_TASK), countMaintenance('collected_bytes', 5)]));

  test('shows its last run, and the tasks that are stopped, on the overview', async () => {
    const page = await reader.text('/');
    expect(page).toContain('<time datetime="2026-01-02T03:04:05.000Z">');
    expect(page).toContain('<td data-column="Stopped">collect: node2 does not answer</td>');
  });

  test('shows each task and its work on the page of storage', async () => {
    const page = await reader.text('/storage');
    for (const text of [
      '<td>collect</td>',
      '<time datetime="2026-01-02T03:05:05.000Z">',
      '<td>collected bytes</td><td>5</td>',
    ])
      expect(page).toContain(text);
  });
});

test('the page of storage lists damaged blobs, with the remedy for those that are lost', async () => {
  expect(await reader.text('/storage')).toContain('No blob is known to be damaged');
  const { manifest } = await hosts.push('node1', APP, 1, 'latest');
  await hosts.drain();
  const [config, layer] = manifest.requiredBlobs;
  const damage = 'UPDATE locations SET damage = ?1 WHERE digest = ?2 AND store IN (?3, ?4)';
  await env.DB_CENTRAL.batch([
    env.DB_CENTRAL.prepare(damage).bind('missing', config, 'central', 'central'),
    env.DB_CENTRAL.prepare(damage).bind('wrong bytes', layer, 'central', 'node1'),
  ]);
  const page = await reader.text('/storage');
  const rows = [...page.matchAll(/<tr><td><code title="(sha256:\w+)">.*?<\/tr>/gs)].map(([row, digest]) => [
    digest,
    row
      .replaceAll(/<[^>]*>/g, ' ')
      .replaceAll(/\s+/g, ' ')
      .trim()
      .split(' ')
      .slice(1)
      .join(' '),
  ]);
  const lost = `No store has its bytes. Push the image of ${APP} again.`;
  expect(new Set(rows)).toEqual(
    new Set([
      [config, 'central missing None is needed: maintenance copies it from another store.'],
      [layer, `central lost ${lost}`],
      [layer, `node1 lost ${lost}`],
    ]),
  );
});
