import { afterEach, describe, expect, test, vi } from 'vitest';
import { parseImageReference, parseRepositoryReference, referenceOf, splitHost } from '../../cli/src/reference.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

afterEach(() => vi.unstubAllEnvs());

describe('the name of an image', () => {
  test.each([
    ['index.example.com/acme/app', 'index.example.com', 'acme/app', undefined, undefined],
    ['localhost/acme/app:1.2', 'localhost', 'acme/app', '1.2', undefined],
    ['localhost:8787/acme/team/app', 'localhost:8787', 'acme/team/app', undefined, undefined],
    [`localhost:8787/acme/app:1@${DIGEST}`, 'localhost:8787', 'acme/app', '1', DIGEST],
    [`[::1]:8787/acme/app@${DIGEST}`, '[::1]:8787', 'acme/app', undefined, DIGEST],
    ['localhost:5000/single', 'localhost:5000', 'single', undefined, undefined],
  ])('%s', (text, host, repository, tag, digest) => {
    expect(parseImageReference(text)).toEqual({ host, repository, tag, digest });
  });

  test('may leave out the host that BERTH_HOST names', () => {
    vi.stubEnv('BERTH_HOST', 'index.example.com');
    expect(parseImageReference('acme/app:1')).toMatchObject({ host: 'index.example.com', repository: 'acme/app' });
    expect(parseImageReference('localhost:1/acme/app')).toMatchObject({ host: 'localhost:1' });
    expect(splitHost('acme')).toEqual({ host: 'index.example.com', path: 'acme' });
  });

  test.each([
    ['acme/app', /does not name a registry: write HOST\/acme\/app/],
    ['localhost:1/Acme/app', /must be lowercase/],
    ['localhost:1/acme/app:', /a tag has 1 to 128/],
    ['localhost:1/acme/app:.x', /a tag has 1 to 128/],
    ['localhost:1/acme/app@sha256:12', /64 lowercase/],
    ['index.example.com', /does not name a repository: write index.example.com\/ORGANIZATION\/NAME/],
  ])('%s is refused, with advice', (text, message) => {
    vi.stubEnv('BERTH_HOST', '');
    expect(() => parseImageReference(text)).toThrow(message);
  });

  test('stands for its digest, else its tag, else latest', () => {
    const image = parseImageReference(`localhost:1/acme/app:1@${DIGEST}`);
    expect(referenceOf(image)).toBe(DIGEST);
    expect(referenceOf({ ...image, digest: undefined })).toBe('1');
    expect(referenceOf({ ...image, tag: undefined, digest: undefined })).toBe('latest');
  });
});

test('the name of a repository has no tag', () => {
  expect(parseRepositoryReference('localhost:1/acme/app')).toEqual({ host: 'localhost:1', repository: 'acme/app' });
  expect(() => parseRepositoryReference('localhost:1/acme/app:1')).toThrow(/leave out its tag/);
});
