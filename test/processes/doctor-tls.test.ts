/** `npm run doctor` against a local registry behind TLS, with good and bad certificates. */
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Certificate, createAuthority } from '../support/local/certificates.ts';
import { diagnose, seen } from '../support/local/doctor.ts';
import { Edge, type Fault } from '../support/local/edge.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const server = serverForFile();

describe('over TLS', () => {
  const DAY = 86_400_000;
  const authority = createAuthority();
  const trusted = getCACertificates('default');
  beforeAll(() => setDefaultCACertificates([...trusted, authority.cert]));
  afterAll(() => setDefaultCACertificates(trusted));

  async function behind(certificate: Certificate, fault: Fault = {}) {
    const encrypted = await Edge.start(server.current.port, certificate);
    try {
      encrypted.fault = fault;
      return await diagnose([encrypted.url], {});
    } finally {
      await encrypted.close();
    }
  }

  const inDays = (days: number) => authority.leaf(new Date(Date.now() + days * DAY));

  test.each([
    ['refused', { status: 403 }, 'it is refused with 403'],
    ['redirected', { status: 301, headers: { Location: 'https://localhost/v2/' } }, 'it is redirected to https'],
  ])('a good certificate, and plain HTTP that is %s, are ok', async (_what, answer, expected) => {
    const lines = await behind(inDays(60), { refuse: ({ plain }) => (plain ? answer : undefined) });
    expect(seen(lines, 'failure')).toEqual([]);
    expect(seen(lines, 'warning')).toEqual([]);
    const until = new Date(Date.now() + 60 * DAY).toISOString().slice(0, 10);
    expect(seen(lines, 'ok')).toEqual(
      expect.arrayContaining([`certificate: valid until ${until}`, `plain HTTP: ${expected}`]),
    );
  });

  test('plain HTTP that asks for a password is a failure', async () => {
    expect(seen(await behind(inDays(60)), 'failure')).toEqual([
      expect.stringMatching(/^plain HTTP: GET http:\/\/localhost:\d+\/v2\/ is answered with 401$/),
    ]);
  });

  test('an expired certificate is a failure, and nothing is sent to the host', async () => {
    const asked: string[] = [];
    const lines = await behind(inDays(-1), { refuse: ({ path }) => void asked.push(path) });
    expect(seen(lines, 'failure')).toEqual([expect.stringMatching(/^certificate: it ended on \d{4}-\d\d-\d\d$/)]);
    expect(seen(lines, 'not checked')).toContain('everything else: because of the certificate');
    expect(asked).toEqual([]);
  });

  test('a certificate that ends soon is a warning', async () => {
    const refuse: Fault['refuse'] = ({ plain }) => (plain ? { status: 403 } : undefined);
    const lines = await behind(inDays(5), { refuse });
    expect(seen(lines, 'failure')).toEqual([]);
    expect(seen(lines, 'warning')).toEqual([expect.stringMatching(/^certificate: valid until/)]);
  });

  test('a certificate of an unknown authority is a failure', async () => {
    const stranger = createAuthority().leaf(new Date(Date.now() + 60 * DAY));
    expect(seen(await behind(stranger), 'failure')).toEqual([
      expect.stringMatching(/^certificate: it is not trusted: /),
    ]);
  });

  test('a name that does not resolve is a failure', async () => {
    const lines = await diagnose(['https://index.berth.invalid']);
    expect(seen(lines, 'failure')).toEqual([expect.stringMatching(/^address: the name does not resolve: /)]);
  });
});
