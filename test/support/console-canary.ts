/** Searches everything printed after each test inside workerd: no test may leave a secret in the log. */
import { env } from 'cloudflare:workers';
import { afterEach, expect } from 'vitest';
import { secrets, showPrinted, takePrinted, watchConsole } from './console.ts';

secrets.add('the signing key', env.SIGNING_KEY);
secrets.add('the bootstrap secret', env.BOOTSTRAP_SECRET);
watchConsole();

afterEach(({ task }) => {
  if (task.result?.state === 'fail') showPrinted();
  expect(secrets.find(takePrinted()), 'secrets in the log').toEqual([]);
});
