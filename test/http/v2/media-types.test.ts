/** The media type of a manifest whose document does not state it. */
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers } from '../../support/client.ts';
import { documentOf, type Image } from '../../support/fixture.ts';
import { type Answered, type HostName, ThreeHosts } from '../../support/three-hosts.ts';

const OCI = 'application/vnd.oci.image.index.v1+json';
const JSON_TYPE = 'application/json';
const FORM = 'application/x-www-form-urlencoded';
const MANIFESTS = '/v2/alice/app/manifests';
const HOSTS = ['central', 'node1', 'node2'] as const;

let hosts: ThreeHosts;
let index: Image;
beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
  index = await documentOf(OCI, { mediaType: undefined, manifests: [] });
});

function put(host: HostName, reference: string, type: string): Promise<Answered> {
  return hosts.call(host, 'PUT', `${MANIFESTS}/${reference}`, { headers: { 'Content-Type': type }, body: index.bytes });
}

async function typeAt(host: HostName, reference: string): Promise<string | null> {
  return (await hosts.call(host, 'GET', `${MANIFESTS}/${reference}`)).headers.get('Content-Type');
}

describe.each(['central', 'node1'] as const)('at %s', (host) => {
  test("a live manifest keeps its media type when the same bytes are pushed with curl's default, or as another type", async () => {
    await put(host, 'first', OCI);
    const refused = await put(host, 'second', FORM);
    expect([refused.status, refused.code]).toEqual([400, 'MANIFEST_INVALID']);
    expect((await put(host, 'second', JSON_TYPE)).status).toBe(201);
    expect([await typeAt(host, 'first'), await typeAt(host, 'second'), await typeAt(host, index.digest)]).toEqual([
      OCI,
      OCI,
      OCI,
    ]);
  });

  test('a type that no image client knows is kept as well', async () => {
    await put(host, 'first', JSON_TYPE);
    await put(host, 'second', OCI);
    expect([await typeAt(host, 'first'), await typeAt(host, 'second')]).toEqual([JSON_TYPE, JSON_TYPE]);
  });

  test('after the manifest is deleted, the next push decides', async () => {
    await put(host, 'first', OCI);
    expect((await hosts.call(host, 'DELETE', `${MANIFESTS}/${index.digest}`)).status).toBe(202);
    await put(host, 'first', JSON_TYPE);
    await hosts.drain();
    for (const other of HOSTS) expect([other, await typeAt(other, 'first')]).toEqual([other, JSON_TYPE]);
  });
});

describe("pushed at two hosts that do not know of each other's push,", () => {
  test.each([
    ['central', OCI, 'node1', JSON_TYPE],
    ['central', JSON_TYPE, 'node1', OCI],
    ['node1', OCI, 'node2', JSON_TYPE],
    ['node1', JSON_TYPE, 'node2', OCI],
  ] as const)(
    "%s as %s and then %s as %s, it gets a manifest's type at every host",
    async (one, oneType, other, otherType) => {
      hosts.takeAway('queues');
      await put(one, 'first', oneType);
      await put(other, 'second', otherType);
      hosts.giveBack();
      await hosts.drain();
      for (const host of HOSTS) {
        const served = [await typeAt(host, 'first'), await typeAt(host, 'second')];
        expect([host, ...served]).toEqual([host, OCI, OCI]);
      }
      for (const host of HOSTS) expect([host, await typeAt(host, index.digest)]).toEqual([host, OCI]);
    },
  );
});
