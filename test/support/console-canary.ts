/** Searches everything printed after each test inside workerd: no test may leave a secret in the log. */
import { env } from 'cloudflare:workers';
import { afterEach, expect } from 'vitest';
import { secrets, takePrinted, watchConsole } from './console.ts';

secrets.add('the signing key', env.SIGNING_KEY);
secrets.add('the bootstrap secret', env.BOOTSTRAP_SECRET);
watchConsole();

afterEach(() => {
  expect(secrets.find(takePrinted()), 'secrets in the log').toEqual([]);
});
