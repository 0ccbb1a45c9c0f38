/** Manifests: an accepted one is served byte for byte, and a refused one gets an error and leaves nothing. */
import { beforeEach, describe, expect } from 'vitest';
import { putBlob } from '../support/content.ts';
import { bytesOf } from '../support/fixture.ts';
import { BLOB_SIZE, type ManifestCase, manifestCases } from './generate/manifests.ts';
import { digestOf } from './model/digests.ts';
import { type Json, judge, type Judgement } from './model/manifests.ts';
import { isDigest, isTag } from './model/names.ts';
import { MANIFEST_REGRESSIONS } from './regressions.ts';
import { type Expected, expectOneOf } from './support/answers.ts';
import { bytesOfManifest, grown, withBlobs } from './support/documents.ts';
import { exchange, type OciErrors } from './support/exchange.ts';
import { property } from './support/property.ts';
import { clearManifests, expectUnchanged, settledState } from './support/state.ts';

const REPOSITORY = '/v2/alice/app';
const MAX_BYTES = 4 * 2 ** 20;
const MAX_TAGS = 100;

describe('a manifest', () => {
  let blobs: Map<string, string>;
  let there: Set<string>;
  let state: string;

  beforeEach(async () => {
    const layer = bytesOf(2, BLOB_SIZE);
    const sha512 = await digestOf('sha512', layer);
    await exchange({ method: 'POST', path: `${REPOSITORY}/blobs/uploads/?digest=${sha512}`, as: 'alice', body: layer });
    blobs = new Map([
      ['blob:config', await putBlob('alice/app', bytesOf(1, BLOB_SIZE))],
      ['blob:layer', await putBlob('alice/app', layer)],
      ['blob:sha512', sha512],
      ['blob:of-bob', await putBlob('bob/app', bytesOf(3, BLOB_SIZE), { as: 'bob' })],
    ]);
    there = new Set([...blobs].filter(([name]) => name !== 'blob:of-bob').map(([, digest]) => digest));
    state = await settledState();
  });

  property(
    'is accepted when the model accepts it, and served as it was pushed',
    manifestCases,
    async (example) => {
      const document = grown(withBlobs(example.document, blobs), example.growth);
      const bytes = bytesOfManifest(document, example);
      const { reference, tags, faults } = await referenceOf(example, bytes);
      const judged = judgementOf(document, example, bytes);
      for (const fault of judged.faults) faults.add(fault);
      const missing = [...judged.needed].filter((digest) => !there.has(digest));
      const contradicted = [...judged.sizes].filter(([digest, size]) => there.has(digest) && size !== BLOB_SIZE);
      if (faults.size === 0) {
        if (missing.length > 0) faults.add('400 MANIFEST_BLOB_UNKNOWN');
        if (contradicted.length > 0) faults.add('400 MANIFEST_INVALID');
      }

      const { streamed } = example;
      const contentType = contentTypeOf(example);
      const query = new URLSearchParams(tags.map((tag) => ['tag', tag.toWellFormed()]));
      const path = `${REPOSITORY}/manifests/${encodeURIComponent(reference)}${tags.length === 0 ? '' : `?${query.toString()}`}`;
      const headers: Record<string, string> = contentType === undefined ? {} : { 'Content-Type': contentType };
      const answer = await exchange({ method: 'PUT', path, as: 'alice', headers, body: bytes, streamed });
      const what = { path, contentType, text: new TextDecoder().decode(bytes.slice(0, 2000)) };
      expectOneOf(answer, faults.size > 0 ? faults : ['201'], what);
      if (answer.code === 'MANIFEST_BLOB_UNKNOWN') {
        const { errors } = JSON.parse(new TextDecoder().decode(answer.bytes)) as OciErrors;
        expect(errors.map(({ detail }) => detail['digest']).toSorted()).toEqual(missing.toSorted());
      }
      if (answer.status !== 201) return expectUnchanged(state, what);

      const digest = await digestOf(reference.startsWith('sha512:') ? 'sha512' : 'sha256', bytes);
      expect(answer.headers.get('Docker-Content-Digest')).toBe(digest);
      expect(answer.headers.get('Location')).toBe(`${REPOSITORY}/manifests/${digest}`);
      expect(answer.headers.get('OCI-Subject')).toBe(judged.subject ?? null);
      expect(answer.headers.get('OCI-Tag')).toBe(tags.length === 0 ? null : [...new Set(tags)].join(', '));
      for (const named of new Set([reference, ...tags.slice(0, 1)])) {
        const pulled = await exchange({ method: 'GET', path: `${REPOSITORY}/manifests/${named}`, as: 'alice' });
        const [type, hex] = [pulled.headers.get('Content-Type'), await digestOf('sha256', pulled.bytes)];
        expect([pulled.status, type, hex]).toEqual([200, judged.mediaType, await digestOf('sha256', bytes)]);
      }
      if (judged.subject !== undefined) await expectReferrer(judged.subject, digest);
      await restore();
    },
    { regressions: MANIFEST_REGRESSIONS, restore },
  );

  /** Removes the manifests. The state is read again, because versions never go back. */
  async function restore(): Promise<void> {
    await clearManifests();
    state = await settledState();
  }
});

async function expectReferrer(subject: string, digest: string): Promise<void> {
  const listed = await exchange({ method: 'GET', path: `${REPOSITORY}/referrers/${subject}`, as: 'alice' });
  const { manifests } = JSON.parse(new TextDecoder().decode(listed.bytes)) as { manifests: { digest: string }[] };
  expect(manifests.map((one) => one.digest)).toEqual([digest]);
}

/** Returns the Content-Type; an empty header counts as absent. */
function contentTypeOf({ contentType }: ManifestCase): string | undefined {
  return contentType?.trim() === '' ? undefined : contentType;
}

/** Judges the bytes as a document. */
function judgementOf(document: Json, example: ManifestCase, bytes: Uint8Array): Judgement {
  const { encoding } = example;
  if (bytes.byteLength > MAX_BYTES) return refused('413 SIZE_INVALID');
  const isDocument = encoding === 'plain' || encoding === 'spaced' || encoding === 'marked' || encoding === 'repeated';
  return isDocument ? judge(document, contentTypeOf(example)) : refused('400 MANIFEST_INVALID');
}

function refused(fault: Expected): Judgement {
  return { faults: new Set([fault]), needed: new Set(), sizes: new Map(), mediaType: '', subject: undefined };
}

async function referenceOf(
  { reference }: ManifestCase,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<{ reference: string; tags: readonly string[]; faults: Set<Expected> }> {
  const faults = new Set<Expected>();
  if ('tag' in reference)
    return { reference: reference.tag.toWellFormed(), tags: [], faults: tagFault(reference.tag, faults) };
  if ('digest' in reference) {
    const text = reference.digest.toWellFormed();
    // A text without a colon is read as a tag, and may be a valid one.
    if (!text.includes(':')) return { reference: text, tags: [], faults: tagFault(text, faults) };
    return {
      reference: text,
      tags: [],
      faults: isDigest(text) && text === (await digestOf('sha256', bytes)) ? faults : faults.add('400 DIGEST_INVALID'),
    };
  }
  const { algorithm, isRight, tags } = reference;
  const digest = await digestOf(algorithm, isRight ? bytes : Uint8Array.of(9));
  if (!isRight) faults.add('400 DIGEST_INVALID');
  for (const tag of tags) tagFault(tag, faults);
  if (new Set(tags).size > MAX_TAGS) faults.add('414 UNSUPPORTED');
  return { reference: digest, tags, faults };
}

function tagFault(tag: string, faults: Set<Expected>): Set<Expected> {
  if (tag.includes(':')) return isDigest(tag) ? faults : faults.add('400 DIGEST_INVALID').add('400 MANIFEST_INVALID');
  return isTag(tag) ? faults : faults.add('400 MANIFEST_INVALID');
}
