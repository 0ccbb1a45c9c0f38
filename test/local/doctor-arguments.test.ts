import { describe, expect, test } from 'vitest';
import { parseArguments, WrongUse } from '../../src/local/doctor/arguments.ts';

const URL_OF_CENTRAL = 'https://index.example.com';

describe('these arguments are refused:', () => {
  test.each([
    ['no URL', [], /^npm run doctor/],
    ['two URLs', [URL_OF_CENTRAL, URL_OF_CENTRAL], /^npm run doctor/],
    ['an unknown option', [URL_OF_CENTRAL, '--fix'], /--fix/],
    ['a secret among the arguments', [URL_OF_CENTRAL, '--password', 'x'], /--password/],
    ['a host without a scheme', ['index.example.com'], /write it as https:\/\/index\.example\.com/],
    ['a URL with a path', [`${URL_OF_CENTRAL}/v2/`], /not the address of a host/],
    ['a URL with a password', ['https://ci:secret@index.example.com'], /not the address of a host/],
    ['another scheme', ['ftp://index.example.com'], /not the address of a host/],
    ['plain http', ['http://index.example.com'], /must be https/],
    ['a host that is not one', [URL_OF_CENTRAL, '--hosts', 'a b'], /"a b" is not the address of a host/],
    ['a wait that is not a number', [URL_OF_CENTRAL, '--wait', 'long'], /--wait must be a number/],
    ['no wait', [URL_OF_CENTRAL, '--wait', '0'], /--wait must be a number/],
  ])('%s', (_what, args, message) => {
    const parse = () => parseArguments(args, {});
    expect(parse).toThrow(WrongUse);
    expect(parse).toThrow(message);
  });

  test.each([
    [{ BERTH_USER: 'admin' }, 'Set both BERTH_USER and BERTH_PASSWORD, or neither.'],
    [
      { BERTH_ORGANIZATION_PASSWORD: 'x' },
      'Set both BERTH_ORGANIZATION_USER and BERTH_ORGANIZATION_PASSWORD, or neither.',
    ],
  ])('a credential without its other half: %o', (environment, message) => {
    expect(() => parseArguments([URL_OF_CENTRAL], environment)).toThrow(message);
  });
});

test.each(['http://localhost:8787', 'http://127.0.0.1:8787', 'http://[::1]:8787', 'http://index.localhost'])(
  'plain http is allowed to %s',
  (url) => {
    expect(parseArguments([url], {}).url.href).toBe(`${url}/`);
  },
);

test('hosts have the scheme of the URL, and secrets come from the environment', () => {
  const environment = {
    BERTH_USER: 'operator',
    BERTH_PASSWORD: 's1',
    BERTH_ORGANIZATION_USER: 'ci',
    BERTH_ORGANIZATION_PASSWORD: 's2',
  };
  const args = [URL_OF_CENTRAL, '--hosts', 'index.fra.example.com, other.example.com:8443', '--wait', '2.5', '--large'];
  expect(parseArguments(args, environment)).toEqual({
    url: new URL(URL_OF_CENTRAL),
    hosts: [new URL('https://index.fra.example.com'), new URL('https://other.example.com:8443')],
    large: true,
    wait: 2500,
    json: false,
    organization: { user: 'ci', secret: 's2' },
    administrator: { user: 'operator', secret: 's1' },
  });
});
