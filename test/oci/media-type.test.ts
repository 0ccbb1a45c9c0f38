import { describe, expect, test } from 'vitest';
import {
  DOCKER_MANIFEST,
  isDockerSchema1,
  isNonDistributable,
  type MediaType,
  OCI_IMAGE_MANIFEST,
  parseMediaType,
} from '../../src/oci/media-type.ts';

describe('parseMediaType', () => {
  test.each([
    ['application/json', 'application/json'],
    ['application/vnd.oci.image.manifest.v1+json', OCI_IMAGE_MANIFEST],
    ['application/json; charset=utf-8', 'application/json'],
    ['application/json;a=1;b=2', 'application/json'],
    [' application/json ', 'application/json'],
    ['a/b', 'a/b'],
    ['x1/0!#$&^_.+-', 'x1/0!#$&^_.+-'],
    [`${'a'.repeat(127)}/${'b'.repeat(127)}`, `${'a'.repeat(127)}/${'b'.repeat(127)}`],
  ])('reads %j', (text, mediaType) => {
    expect(parseMediaType(text)).toBe(mediaType);
  });

  test.each([
    undefined,
    '',
    ';',
    '; charset=utf-8',
    'json',
    'application/',
    '/json',
    'a/b/c',
    'a b/c',
    '*/*',
    '.a/b',
    'a/+json',
    'a/b\nx',
    'a/b\r\nSet-Cookie: x',
    'a/"b"',
    'ä/b',
    `${'a'.repeat(128)}/b`,
    `a/${'b'.repeat(128)}`,
  ])('finds none in %j', (text) => {
    expect(parseMediaType(text)).toBeUndefined();
  });
});

describe('isDockerSchema1', () => {
  test.each([
    ['application/vnd.docker.distribution.manifest.v1+json', true],
    ['application/vnd.docker.distribution.manifest.v1+prettyjws', true],
    [DOCKER_MANIFEST, false],
    ['application/vnd.docker.distribution.manifest.v1+yaml', false],
    ['application/vnd.docker.distribution.manifest.v1+json.x', false],
    ['application/vnd-docker.distribution.manifest.v1+json', false],
    ['application/vnd.docker.distribution.manifest-v1+json', false],
  ])('%s: %j', (mediaType, expected) => {
    expect(isDockerSchema1(mediaType as MediaType)).toBe(expected);
  });
});

describe('isNonDistributable', () => {
  test.each([
    ['application/vnd.oci.image.layer.nondistributable.v1.tar', true],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', true],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+zstd', true],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar', true],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', true],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', false],
    ['application/vnd.oci.image.layer.v1.tar+gzip', false],
    ['application/vnd.oci.image.layer.nondistributable.v2.tar', false],
    ['x/application/vnd.oci.image.layer.nondistributable.v1.tar', false],
    ['', false],
  ])('%s: %j', (mediaType, expected) => {
    expect(isNonDistributable(mediaType)).toBe(expected);
  });
});
