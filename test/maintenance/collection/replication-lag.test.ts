/** A run asks each node once about its outbox. */
import { beforeEach, expect, test, vi } from 'vitest';
import { OciError } from '../../../src/oci/errors.ts';
import { contextOf } from '../../support/collecting.ts';
import { GRACE } from '../../support/fixture.ts';
import { type Hosts, openHosts } from '../../support/hosts.ts';

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

test('callers at the same time, and soon after, share one query of each node', async () => {
  const { lag, nodes } = contextOf(hosts);
  const asked = nodes.map(({ database }) => vi.spyOn(database, 'first'));
  const askAll = (): Promise<unknown> =>
    Promise.all([lag.requireShort(), lag.requireShort(), ...nodes.map((node) => lag.leastVersion(node))]);
  await askAll();
  await askAll();
  expect(asked.map(({ mock }) => mock.calls.length)).toEqual(nodes.map(() => 1));
  hosts.now += GRACE / 8;
  await askAll();
  expect(asked.map(({ mock }) => mock.calls.length)).toEqual(nodes.map(() => 2));
});

test('a node that does not answer is asked once, and stops everyone', async () => {
  const { lag, nodes } = contextOf(hosts);
  const [away] = nodes;
  const asked = vi.spyOn(away!.database, 'first').mockRejectedValue(new OciError('UNAVAILABLE'));
  await expect(lag.requireShort()).rejects.toThrow('does not answer');
  await expect(lag.requireShort()).rejects.toThrow('does not answer');
  await expect(lag.leastVersion(away!)).rejects.toThrow('does not answer');
  expect(asked).toHaveBeenCalledOnce();
});
