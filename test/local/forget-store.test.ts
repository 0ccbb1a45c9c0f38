import { beforeEach, describe, expect, test } from 'vitest';
import { DIGEST, nodeToRetire, QUEUE } from '../support/local/node-to-retire.ts';

const { central, retire, text, toml } = nodeToRetire();

describe('--forget, once the node is no longer in wrangler.toml', () => {
  const LOCATIONS = '/api/replication/stores/fra/locations';

  beforeEach(() => toml.write(text.before));

  test('asks central to forget the store until it is done', async () => {
    central.answers[`${LOCATIONS}?lost=false&last=`] = { body: { locations: 3, last: DIGEST } };
    const rest = `${LOCATIONS}?lost=false&last=${encodeURIComponent(DIGEST)}`;
    central.answers[rest] = { body: { locations: 4, last: null } };
    const { refused, ran, screen } = await retire('--forget fra');
    expect([refused, ran]).toEqual([undefined, []]);
    expect(central.asked).toEqual([`DELETE ${LOCATIONS}?lost=false&last=`, `DELETE ${rest}`]);
    expect(screen()).toBe('Central has forgotten store fra: 7 locations.');
    expect(await toml.read()).toBe(text.before);
  });

  test('is refused while central lacks bytes that were pushed after the first check', async () => {
    const message = 'central lacks 1 blobs (70 bytes) that lie at fra';
    central.answers[`${LOCATIONS}?lost=false&last=`] = {
      status: 409,
      body: { errors: [{ code: 'CONFLICT', message }] },
    };
    const { refused } = await retire('--forget fra');
    for (const part of [message, 'Delete nothing of fra', 'npm run retire-node -- --forget fra --lost']) {
      expect(refused).toContain(part);
    }
  });

  test.each(['', ' --lost'])(
    '--forget%s of a store that central does not know is refused, and forgets nothing',
    async (lost) => {
      const message = 'central knows nothing of a store fra. Retired stores that central knows: frankfurt';
      const answer = { status: 404, body: { errors: [{ code: 'NOT_FOUND', message, detail: {} }] } };
      central.answers[`${LOCATIONS}?lost=${lost !== ''}&last=`] = answer;
      central.answers[`${QUEUE}/only-here`] = answer;
      const { refused, screen } = await retire(`--forget fra${lost}`);
      for (const part of [message, 'delete nothing', 'takes the name of the store']) expect(refused).toContain(part);
      expect(screen()).not.toContain('forgotten');
    },
  );

  test('lists what is lost and continues with --lost', async () => {
    const items = [{ kind: 'blob', organization: 'alice', key: DIGEST, size: 10, elsewhere: false }];
    central.answers[`${QUEUE}/only-here`] = { body: { items, last: null, complete: false } };
    central.answers[`${LOCATIONS}?lost=true&last=`] = { body: { locations: 1, last: null } };
    const { refused, screen } = await retire('--forget fra --lost');
    expect(refused).toBeUndefined();
    expect(central.asked).toEqual([`${QUEUE}/only-here`, `DELETE ${LOCATIONS}?lost=true&last=`]);
    expect(screen().split('\n')).toEqual([
      "The node's database does not answer. The list lacks pushes that were not announced to central.",
      `lost: blob     alice ${DIGEST} (10 bytes)`,
      'Lost: 0 manifests, 0 tags, 1 blobs (10 bytes).',
      'Central has forgotten store fra: 1 locations.',
    ]);
  });

  test('refuses if central makes no progress', async () => {
    central.answers[`${LOCATIONS}?lost=false&last=`] = { body: { locations: 0, last: '' } };
    expect((await retire('--forget fra')).refused).toContain('makes no progress');
  });

  test('is refused without asking central for a store that a node uses', async () => {
    await toml.write(text.withNode);
    const { refused } = await retire('--forget fra');
    expect([refused, central.asked]).toEqual(['Node fra uses store fra: retire it first.', []]);
  });

  test('cannot be combined with the name of a node', async () => {
    expect((await retire('fra --forget fra')).refused).toMatch(/^npm run retire-node/);
  });
});
