/**
 * Names, tags, digests and parameters in paths, with every method: malformed ones get an error, and nothing else
 * happens.
 */
import * as fc from 'fast-check';
import { beforeEach, describe, expect } from 'vitest';
import { HOST } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { type Image, indexOf } from '../support/fixture.ts';
import { noise } from './generate/headers.ts';
import { anyDigest, anyName, anyTag, goodDigest, goodName } from './generate/names.ts';
import { isAnyDigest, isDigest, isRepositoryName, isSpecName, isTag, organizationOf } from './model/names.ts';
import { hasMethod, type Target, targetOf } from './model/routes.ts';
import { isDigits } from './model/text.ts';
import { PATH_REGRESSIONS } from './regressions.ts';
import { type Expected, expectOneOf } from './support/answers.ts';
import { exchange } from './support/exchange.ts';
import { property } from './support/property.ts';
import { clearManifests, expectUnchanged, settledState } from './support/state.ts';

export interface PathCase {
  readonly method: string;
  /** Segments that are joined unencoded, except for what a part holds. */
  readonly parts: readonly string[];
  /** Whether a slash within a part is encoded too. */
  readonly encodes: boolean;
  readonly parameters: readonly (readonly [string, string])[];
  readonly headers: Readonly<Record<string, string>>;
}

const resource = fc.oneof(
  { weight: 4, arbitrary: fc.oneof(anyTag, anyDigest).map((reference) => ['manifests', reference]) },
  { weight: 2, arbitrary: fc.oneof(anyTag, anyDigest).map((digest) => ['blobs', digest]) },
  { weight: 1, arbitrary: anyDigest.map((digest) => ['referrers', digest]) },
  { weight: 2, arbitrary: fc.oneof(goodDigest, anyTag).map((session) => ['blobs', 'uploads', session]) },
  { weight: 1, arbitrary: fc.constant(['blobs', 'uploads', '']) },
  { weight: 1, arbitrary: fc.constant(['tags', 'list']) },
  {
    weight: 1,
    arbitrary: fc.array(fc.constantFrom('manifests', 'blobs', 'uploads', 'tags', 'list', '', 'a'), { maxLength: 5 }),
  },
);

/** The repository that exists, or any other. */
const name = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom('alice/app', 'alice%2Fapp') },
  { weight: 5, arbitrary: anyName },
);

const page = fc.oneof(
  fc.nat(2000).map(String),
  fc.constantFrom('', '-1', '1.5', '1e3', '0x10', ' 1', 'abc', '9'.repeat(15), '9'.repeat(16), '9'.repeat(400)),
);
const parameters = fc.array(
  fc.oneof(
    page.map((value): [string, string] => ['n', value]),
    fc.string({ unit: 'binary', maxLength: 10 }).map((value): [string, string] => ['last', value]),
    fc.constantFrom('artifactType', 'ns', 'x').map((key): [string, string] => [key, "' OR 1=1 --"]),
  ),
  { maxLength: 2 },
);

const cases: fc.Arbitrary<PathCase> = fc.record({
  method: fc.constantFrom('GET', 'GET', 'HEAD', 'PUT', 'DELETE', 'POST', 'PATCH', 'OPTIONS', 'QUERY'),
  parts: fc.tuple(name, resource).map(([first, rest]) => [first].concat(rest)),
  encodes: fc.boolean(),
  parameters: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: parameters }),
  headers: noise,
});

function pathOf({ parts, encodes, parameters: query }: PathCase): string {
  const encoded = parts.map((part) => {
    const whole = encodeURIComponent(part.toWellFormed()).replaceAll('%3A', ':');
    return encodes ? whole : whole.replaceAll('%2F', '/').replaceAll('%25', '%');
  });
  const path = ['/v2', ...encoded].join('/');
  return query.length === 0
    ? path
    : `${path}?${new URLSearchParams(query.map(([key, value]) => [key, value.toWellFormed()])).toString()}`;
}

describe('a path', () => {
  let image: Image;
  let index: Image;
  let state: string;

  beforeEach(async () => {
    image = await putImage('alice/app', 1, ['latest']);
    index = await indexOf([]);
    state = await settledState();
  });

  /** Returns the faults of a path, except that what it names does not exist. */
  function faultsOf(target: Target, method: string, url: URL): Expected[] {
    if (target.kind === 'nothing') return ['404 UNSUPPORTED'];
    if (method === 'OPTIONS') return ['204'];
    if (!hasMethod(target, method)) return ['405 UNSUPPORTED'];
    if (target.kind === 'ping' || target.kind === 'catalog') return hasBadPage(target, url) ? ['400 UNSUPPORTED'] : [];
    const { kind, name: repository, item } = target;
    const faults: Expected[] = [];
    const isPush = ['POST', 'PATCH', 'PUT'].includes(method);
    if (!isSpecName(repository)) faults.push('400 NAME_INVALID');
    else if (!isRepositoryName(repository)) {
      if (isPush) faults.push('403 DENIED');
      else if (kind !== 'referrers') faults.push('404 NAME_UNKNOWN');
    } else if (!mayAlice(kind === 'session' ? 'PUT' : method, repository)) faults.push('403 DENIED');
    const isOfManifest = kind === 'manifest';
    if (isOfManifest && isPush && !item.includes(':') && !isTag(item)) faults.push('400 MANIFEST_INVALID');
    if (isOfManifest && item.includes(':') && !(isPush ? isDigest(item) : isAnyDigest(item)))
      faults.push('400 DIGEST_INVALID');
    if ((kind === 'blob' || kind === 'referrers') && !isAnyDigest(item)) faults.push('400 DIGEST_INVALID');
    if (isOfManifest && method === 'PUT' && isDigest(item) && item !== index.digest) faults.push('400 DIGEST_INVALID');
    if (hasBadPage(target, url)) faults.push('400 UNSUPPORTED');
    return faults;
  }

  function answerOf(target: Target, method: string): Expected {
    switch (target.kind) {
      case 'nothing':
        return '404 UNSUPPORTED';
      case 'ping':
      case 'catalog':
        return '200';
      case 'uploads':
        return '202';
      case 'session':
        return method === 'PUT' ? '400 DIGEST_INVALID' : '404 BLOB_UPLOAD_UNKNOWN';
      case 'referrers':
        return '200';
      case 'tags':
        return target.name === 'alice/app' ? '200' : '404 NAME_UNKNOWN';
      case 'blob':
        return target.name === 'alice/app' && image.manifest.requiredBlobs.some((blob) => blob === target.item)
          ? '200'
          : '404 BLOB_UNKNOWN';
      case 'manifest': {
        if (method === 'PUT') return '201';
        const isThere = target.name === 'alice/app' && (target.item === 'latest' || target.item === image.digest);
        if (isThere) return method === 'DELETE' ? '202' : '200';
        return target.name === 'alice/app' ? '404 MANIFEST_UNKNOWN' : '404 NAME_UNKNOWN';
      }
    }
  }

  property(
    'gets the answer that its grammar requires, and changes only what it names',
    cases,
    async (example) => {
      const { method, headers } = example;
      const path = pathOf(example);
      const url = new URL(path, HOST);
      const target = targetOf(url.pathname, method);
      const body = method === 'PUT' ? index.bytes : undefined;
      const type = method === 'PUT' ? { 'Content-Type': index.manifest.mediaType } : {};
      const answer = await exchange({ method, path, body, as: 'alice', headers: { ...headers, ...type } });
      // Browsers send the origin of a page, and a page of another origin may change nothing.
      const isOfOtherPage = 'Origin' in headers && !['GET', 'HEAD', 'OPTIONS'].includes(method);
      const faults: Expected[] = isOfOtherPage ? ['403 DENIED'] : faultsOf(target, method, url);
      expectOneOf(answer, faults.length > 0 ? faults : [answerOf(target, method)], { method, path, target });
      if (answer.status < 300 && (method === 'PUT' || method === 'DELETE')) await restore();
      else await expectUnchanged(state, { method, path });
      if (answer.status === 201)
        expect(answer.headers.get('Location')).toBe(`/v2/${target.name}/manifests/${index.digest}`);
    },
    { regressions: PATH_REGRESSIONS, restore },
  );

  async function restore(): Promise<void> {
    await clearManifests();
    await putImage('alice/app', 1, ['latest']);
    state = await settledState();
  }
});

/**
 * Returns whether alice may use the method. Reading a session requires the right to push, so callers pass PUT for it.
 */
function mayAlice(method: string, repository: string): boolean {
  const organization = organizationOf(repository);
  return organization === 'alice' || (organization === 'official' && (method === 'GET' || method === 'HEAD'));
}

/** Returns whether the page length is not a whole number. */
function hasBadPage({ kind }: Target, url: URL): boolean {
  if (kind !== 'tags' && kind !== 'catalog' && kind !== 'referrers') return false;
  const n = url.searchParams.get('n');
  return n !== null && !isDigits(n);
}

describe('good names', () => {
  property('are valid in the model too, unless they are too long', goodName, async (text) => {
    expect([text.length > 255, isRepositoryName(text)]).toEqual([text.length > 255, text.length <= 255]);
  });
});
