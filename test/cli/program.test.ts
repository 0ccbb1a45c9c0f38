import { expect, test } from 'vitest';
import manifest from '../../cli/package.json' with { type: 'json' };
import { berth } from './support/berth.ts';

test('--version prints the version of the package', async () => {
  expect(await berth(['--version'])).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: '' });
});

test('an unknown command is refused, with a hint at --help', async () => {
  const { code, stdout, stderr } = await berth(['psuh']);
  expect(code).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toContain('--help');
});
