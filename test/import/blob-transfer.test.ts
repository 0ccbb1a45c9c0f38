import { expect, test } from 'vitest';
import { transferBlob } from '../../src/import/blob-transfer.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { OciError } from '../../src/oci/errors.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import type { Registry } from '../../src/registry/registry.ts';

test('a lost upload session fails the attempt, and the next one opens another', async () => {
  const MEBIBYTE = 1024 ** 2;
  const content = {
    digest: `sha256:${'a'.repeat(64)}` as Digest,
    size: 100 * MEBIBYTE,
    open: () => new ReadableStream<Uint8Array>(),
  };
  const opened: string[] = [];
  const registry = {
    uploadProgress: async () => {
      throw new OciError('UPLOAD_UNKNOWN');
    },
    openUpload: async () => {
      opened.push('session');
      throw new OciError('UNAVAILABLE');
    },
  } as unknown as Registry;
  let reference: string | undefined = 'lost';
  const record = { read: () => reference, write: (now: string | undefined) => (reference = now) };
  const transfer = {
    registry,
    repository: 'alice/app' as RepositoryName,
    subject: 'import:1',
    record,
    onBytes: () => undefined,
    mayGoOn: () => undefined,
  };
  await expect(transferBlob(content, transfer)).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
  expect([reference, opened]).toEqual([undefined, []]);
  await expect(transferBlob(content, transfer)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
  expect(opened).toEqual(['session']);
});
