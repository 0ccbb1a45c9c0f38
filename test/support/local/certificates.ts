/** Makes certificates for tests: an authority of their own, and leaves for `localhost`. Written in DER by hand. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

interface Authority extends Certificate {
  /** Signs a certificate for localhost that ends at this time. */
  leaf(ends: Date): Certificate;
}

const DAY = 86_400_000;

/** Makes an authority that nobody trusts yet. */
export function createAuthority(): Authority {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const basicConstraints = extension([0x55, 0x1d, 0x13], sequence(element(0x01, Buffer.from([0xff]))));
  const self = { issuer: 'Berth tests', signer: keys.privateKey };
  const ends = new Date(Date.now() + DAY);
  return {
    ...certificate({ ...self, subject: 'Berth tests', keys, ends, extensions: [basicConstraints] }),
    leaf: (until) => {
      const names = extension([0x55, 0x1d, 0x11], sequence(element(0x82, Buffer.from('localhost'))));
      const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      return certificate({ ...self, subject: 'localhost', keys: own, ends: until, extensions: [names] });
    },
  };
}

interface Request {
  readonly subject: string;
  readonly issuer: string;
  readonly signer: KeyObject;
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly ends: Date;
  readonly extensions: readonly Buffer[];
}

/** ecdsa-with-SHA256. */
const ALGORITHM = sequence(oid([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));

/** RFC 5280 §4.1. */
function certificate({ subject, issuer, signer, keys, ends, extensions }: Request): Certificate {
  const content = sequence(
    element(0xa0, element(0x02, Buffer.from([2]))),
    element(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ALGORITHM,
    name(issuer),
    sequence(utcTime(new Date(ends.getTime() - 100 * DAY)), utcTime(ends)),
    name(subject),
    keys.publicKey.export({ type: 'spki', format: 'der' }),
    element(0xa3, sequence(...extensions)),
  );
  const signature = element(0x03, Buffer.concat([Buffer.from([0]), sign('sha256', content, signer)]));
  const text = sequence(content, ALGORITHM, signature)
    .toString('base64')
    .replaceAll(/(.{64})/g, '$1\n');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`,
    key: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

function name(commonName: string): Buffer {
  return sequence(element(0x31, sequence(oid([0x55, 0x04, 0x03]), element(0x0c, Buffer.from(commonName)))));
}

function utcTime(time: Date): Buffer {
  return element(0x17, Buffer.from(`${time.toISOString().slice(2, 19).replaceAll(/[-T:]/g, '')}Z`));
}

function extension(id: readonly number[], value: Buffer): Buffer {
  return sequence(oid(id), element(0x04, value));
}

function oid(bytes: readonly number[]): Buffer {
  return element(0x06, Buffer.from(bytes));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return element(0x30, Buffer.concat(parts));
}

/** An element of DER: its tag, its length and its content. */
function element(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}
