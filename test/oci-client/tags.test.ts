import { beforeEach, expect, test } from 'vitest';
import { Repository } from '../../src/oci-client/repository.ts';
import { TransportError } from '../../src/oci-client/transport.ts';
import { addUsers } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { hostOf, type Interference, wired } from './support.ts';

beforeEach(addUsers);

const repository = (name = 'alice/app', interfere?: Interference) =>
  new Repository(hostOf(wired(interfere)), name, 'pull');

test('the tags of a repository are listed, over all pages', async () => {
  await putImage('alice/app', 1, ['a', 'b', 'c']);
  const inPagesOfTwo: Interference = ({ url }) => {
    if (url.pathname === '/v2/alice/app/tags/list' && !url.searchParams.has('last')) url.searchParams.set('n', '2');
    return undefined;
  };
  expect(await repository('alice/app', inPagesOfTwo).tags()).toEqual(['a', 'b', 'c']);
});

test('a repository that does not exist has no list of tags', async () => {
  expect(await repository('alice/absent').tags()).toBeUndefined();
});

test('a tag is removed alone, a digest is removed with all its tags, and an absent one is reported', async () => {
  const { digest } = await putImage('alice/app', 1, ['a', 'b', 'c']);
  expect(await repository().deleteManifest('a')).toBe(true);
  expect(await repository().tags()).toEqual(['b', 'c']);
  expect(await repository().deleteManifest(digest)).toBe(true);
  expect(await repository().tags()).toEqual([]);
  expect(await repository().deleteManifest('b')).toBe(false);
});

test('a tag that was removed, although the answer was lost, counts as removed', async () => {
  await putImage('alice/app', 1, ['a']);
  let isLost = false;
  const target = repository('alice/app', async ({ method, headers }, pass) => {
    if (method !== 'DELETE' || headers['authorization'] === undefined || isLost) return undefined;
    isLost = (await pass()).ok;
    throw new TransportError('the answer is lost');
  });
  expect([await target.deleteManifest('a'), isLost]).toEqual([true, true]);
});
