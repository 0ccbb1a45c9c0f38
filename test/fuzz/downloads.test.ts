/** GET and HEAD with ranges and conditions return the requested bytes, and no others. */
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect } from 'vitest';
import { putBlob, putImage } from '../support/content.ts';
import { bytesOf } from '../support/fixture.ts';
import { headerText, noise } from './generate/headers.ts';
import { rangeHeader, SIZES } from './generate/ranges.ts';
import { selections, type Selection } from './model/ranges.ts';
import { DOWNLOAD_REGRESSIONS } from './regressions.ts';
import { exchange } from './support/exchange.ts';
import { property } from './support/property.ts';
import { expectUnchanged, settledState } from './support/state.ts';

/** The content that an If-None-Match or If-Range names: this or other content, strongly or weakly. */
type Validator = 'this' | 'weak this' | 'other' | 'weak other' | 'any' | 'unquoted' | { readonly text: string };

export interface DownloadCase {
  readonly method: 'GET' | 'HEAD';
  /** The size of the blob, or the manifest. */
  readonly content: number | 'manifest';
  readonly range: string | undefined;
  readonly ifRange: Validator | undefined;
  readonly ifNoneMatch: readonly Validator[];
  readonly headers: Readonly<Record<string, string>>;
}

const validator: fc.Arbitrary<Validator> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('this', 'weak this', 'other', 'weak other', 'any', 'unquoted') },
  { weight: 1, arbitrary: headerText.map((text) => ({ text: text.replaceAll(/[*,"]/g, '') })) },
);

const cases: fc.Arbitrary<DownloadCase> = fc.record({
  method: fc.constantFrom('GET', 'GET', 'GET', 'HEAD'),
  content: fc.constantFrom(...SIZES, 17, 1000, 'manifest' as const),
  range: fc.option(rangeHeader, { nil: undefined, freq: 8 }),
  ifRange: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: validator }),
  ifNoneMatch: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(validator, { minLength: 1, maxLength: 3 }) },
  ),
  headers: noise,
});

const OTHER = `"sha256:${'0'.repeat(64)}"`;

function textOf(one: Validator, digest: string): string {
  if (typeof one === 'object') return one.text;
  return {
    this: `"${digest}"`,
    'weak this': `W/"${digest}"`,
    other: OTHER,
    'weak other': `W/${OTHER}`,
    any: '*',
    unquoted: digest,
  }[one];
}

/**
 * Returns whether the condition names this content. RFC 9110 §13.1.2 defines `*` only by itself: within a list, either
 * answer is accepted.
 */
function matches(validators: readonly Validator[]): boolean[] {
  if (validators.some((one) => one === 'this' || one === 'weak this' || one === 'unquoted')) return [true];
  if (!validators.includes('any')) return [false];
  return validators.length === 1 ? [true] : [true, false];
}

interface Told {
  readonly status: number;
  readonly contentRange: string | null;
  readonly bytes: Uint8Array;
}

function toldOf(selection: Selection, content: Uint8Array): Told {
  switch (selection.kind) {
    case 'whole':
      return { status: 200, contentRange: null, bytes: content };
    case 'none':
      return { status: 416, contentRange: `bytes */${content.byteLength}`, bytes: new Uint8Array(0) };
    case 'part': {
      const { first, last } = selection;
      return {
        status: 206,
        contentRange: `bytes ${first}-${last}/${content.byteLength}`,
        bytes: content.slice(first, last + 1),
      };
    }
  }
}

describe('a download', () => {
  const contents = new Map<
    number | 'manifest',
    { readonly path: string; readonly digest: string; readonly bytes: Uint8Array }
  >();
  let state: string;

  beforeEach(async () => {
    for (const size of SIZES) {
      const bytes = bytesOf(size + 1, size);
      const digest = await putBlob('alice/app', bytes);
      contents.set(size, { path: `/v2/alice/app/blobs/${digest}`, digest, bytes });
    }
    const { digest, bytes } = await putImage('alice/app', 1, ['latest']);
    contents.set('manifest', { path: '/v2/alice/app/manifests/latest', digest, bytes });
    state = await settledState();
  });

  afterEach(() => expectUnchanged(state, 'downloads'));

  property(
    'gets the answer that its Range and its conditions ask for',
    cases,
    async (example) => {
      const { method, range, ifRange, ifNoneMatch } = example;
      const { path, digest, bytes } = contents.get(example.content) ?? {
        path: '',
        digest: '',
        bytes: new Uint8Array(0),
      };
      const headers = {
        ...example.headers,
        ...(range !== undefined && { Range: range }),
        ...(ifRange !== undefined && { 'If-Range': textOf(ifRange, digest) }),
        ...(ifNoneMatch.length > 0 && { 'If-None-Match': ifNoneMatch.map((one) => textOf(one, digest)).join(', ') }),
      };
      const answer = await exchange({ method, path, as: 'alice', headers });
      const told = {
        status: answer.status,
        contentRange: answer.headers.get('Content-Range'),
        bytes: answer.status < 400 ? answer.bytes : new Uint8Array(0),
      };
      // A HEAD has no ranges (RFC 9110 §14.2), and a manifest is served whole. If-Range compares strongly (§13.1.5).
      const isOther = ifRange !== undefined && ifRange !== 'this' && ifRange !== 'unquoted';
      const isWhole = method === 'HEAD' || example.content === 'manifest' || isOther;
      const accepted = matches(ifNoneMatch).flatMap((isMatch): Told[] => {
        if (isMatch) return [{ status: 304, contentRange: null, bytes: new Uint8Array(0) }];
        const found = selections(isWhole ? undefined : range, bytes.byteLength).map((selection) =>
          toldOf(selection, bytes),
        );
        return method === 'HEAD' ? found.map((one) => ({ ...one, bytes: new Uint8Array(0) })) : found;
      });
      expect(accepted, JSON.stringify({ method, path, headers })).toContainEqual(told);
      if (answer.status < 400) {
        expect(answer.headers.get('ETag')).toBe(`"${digest}"`);
        expect(answer.headers.get('Docker-Content-Digest')).toBe(digest);
      }
      if (method === 'GET' && (answer.status === 200 || answer.status === 206)) {
        expect(answer.headers.get('Content-Length')).toBe(String(answer.bytes.byteLength));
      }
      if (answer.status === 416) expect(answer.code).toBe('SIZE_INVALID');
      if (answer.status >= 400) await expectUnchanged(state, { method, path, headers });
    },
    { regressions: DOWNLOAD_REGRESSIONS },
  );
});
