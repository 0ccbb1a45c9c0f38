import { describe, expect, test } from 'vitest';
import { DIGEST, nodeToRetire, QUEUE } from '../support/local/node-to-retire.ts';

const { central, retire, stateOf, text, toml } = nodeToRetire();

describe('--lost', () => {
  const page = (items: object[], last: string | null, complete = true) => ({ body: { items, last, complete } });

  test('lists everything, page by page, and continues', async () => {
    stateOf({ depth: 2, copies_up: { blobs: 2, bytes: 30 } });
    central.answers[`${QUEUE}/only-here`] = page(
      [
        { kind: 'manifest', repository: 'alice/app', key: DIGEST, tag: 'latest' },
        { kind: 'tag', repository: 'alice/app', key: 'other' },
      ],
      'tag alice/app',
    );
    central.answers[`${QUEUE}/only-here?last=tag%20alice%2Fapp`] = page(
      [
        { kind: 'blob', organization: 'alice', key: DIGEST, size: 10, elsewhere: false },
        { kind: 'blob', organization: 'bob', key: DIGEST, size: 20, elsewhere: false },
      ],
      'end',
    );
    central.answers[`${QUEUE}/only-here?last=end`] = page([], null);
    const { refused, screen } = await retire('fra --lost');
    expect(refused).toBeUndefined();
    expect(screen().split('\n').slice(0, 7)).toEqual([
      `lost: manifest alice/app ${DIGEST}`,
      'lost: tag      alice/app latest',
      'lost: tag      alice/app other',
      `lost: blob     alice ${DIGEST} (10 bytes)`,
      `lost: blob     bob ${DIGEST} (20 bytes)`,
      'Lost: 1 manifests, 2 tags, 2 blobs (30 bytes).',
      'Removed node fra from wrangler.toml.',
    ]);
    expect(await toml.read()).toBe(text.before);
  });

  test('counts the content that another node has separately', async () => {
    const blob = { kind: 'blob', organization: 'alice', key: DIGEST, size: 10 };
    central.answers[`${QUEUE}/only-here`] = page(
      [
        { ...blob, elsewhere: true },
        { ...blob, elsewhere: false },
      ],
      null,
    );
    const { screen } = await retire('fra --lost');
    expect(screen()).toContain(
      'Lost: 0 manifests, 0 tags, 1 blobs (10 bytes).\nAnother node has 1 more blobs that central lacks',
    );
  });

  test('warns if pushes may be lost that were not announced to central', async () => {
    central.answers[`${QUEUE}/only-here`] = page(
      [{ kind: 'blob', organization: 'alice', key: DIGEST, size: 10, elsewhere: false }],
      null,
      false,
    );
    const { refused, screen } = await retire('fra --lost');
    expect(refused).toBeUndefined();
    expect(screen()).toContain('npm run retire-node -- --forget fra --lost\n');
    expect(screen()).toContain(
      "The node's database does not answer. The list lacks pushes that were not announced to central.",
    );
    expect(screen()).toContain(`lost: blob     alice ${DIGEST} (10 bytes)`);
  });

  test('continues if central cannot tell what is lost, and says so', async () => {
    central.answers[`${QUEUE}/only-here`] = page([{ kind: 'tag', repository: 'alice/app', key: 'latest' }], 'x');
    central.answers[`${QUEUE}/only-here?last=x`] = { status: 503, body: 'store fra is away' };
    const { refused, screen } = await retire('fra --lost');
    expect(refused).toBeUndefined();
    expect(screen()).toContain('lost: tag      alice/app latest');
    expect(screen()).toContain(
      'answers 503: store fra is away\nThe list ends here, because central cannot tell what else is lost.',
    );
    expect(await toml.read()).toBe(text.before);
  });

  test('refuses if the pages never end', async () => {
    for (const query of ['', '?last=x', '?last=y']) {
      central.answers[`${QUEUE}/only-here${query}`] = page([], query === '?last=x' ? 'y' : 'x');
    }
    expect((await retire('fra --lost')).refused).toContain('repeats the page after');
    expect(await toml.read()).toBe(text.withNode);
  });
});
