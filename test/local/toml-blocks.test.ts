import { expect, test } from 'vitest';
import { appendBlock, removeBlock } from '../../src/local/toml-blocks.ts';

const NODE = [
  { header: 'env.production.routes', values: { pattern: 'a', custom_domain: true, hosts: ['x', 'y "z"'] } },
];
const BLOCK = `
# begin node fra: written by \`npm run add-node\`, removed by \`npm run retire-node\`
[[env.production.routes]]
pattern = "a"
custom_domain = true
hosts = ["x", "y \\"z\\""]
# end node fra
`;

test('a block is appended between its marks', () => {
  expect(appendBlock('a = 1\n', 'node fra', NODE)).toBe(`a = 1\n${BLOCK}`);
  expect(appendBlock('a = 1', 'node fra', NODE)).toBe(`a = 1\n${BLOCK}`);
});

test('a block is removed with its marks, whatever is around and inside it', () => {
  const text = appendBlock(appendBlock('a = 1\n', 'node fra', NODE), 'node fra2', NODE);
  const edited = text.replace('pattern = "a"', 'pattern = "b" # moved\n# end of it');
  const headers = ['env.production.routes'];
  expect(removeBlock(`${edited}b = 2\n`, 'node fra')).toEqual({
    text: `${appendBlock('a = 1\n', 'node fra2', NODE)}b = 2\n`,
    headers,
  });
  expect(removeBlock(removeBlock(edited, 'node fra')?.text ?? '', 'node fra2')).toEqual({ text: 'a = 1\n', headers });
});

test.each(['a = 1\n', `a = 1\n${BLOCK.replace('# end node fra\n', '')}`, BLOCK.replace('# begin', '#begin')])(
  'a block with a missing mark is not found',
  (text) => {
    expect(removeBlock(text, 'node fra')).toBeUndefined();
  },
);

test('a block is removed from a file with CRLF, or without a last newline', () => {
  const text = appendBlock('a = 1\n', 'node fra', NODE);
  expect(removeBlock(text.replaceAll('\n', '\r\n'), 'node fra')?.text).toBe('a = 1\r\n');
  expect(removeBlock(text.trimEnd(), 'node fra')?.text).toBe('a = 1\n');
});

test('removing a block returns the headers of its tables', () => {
  const text = appendBlock('', 'node fra', NODE).replace('# end', '[env.other]\n  [[ env.more ]]\n# end');
  expect(removeBlock(text, 'node fra')?.headers).toEqual(['env.production.routes', 'env.other', 'env.more']);
});
