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
  expect(removeBlock(`${edited}b = 2\n`, 'node fra')).toBe(`${appendBlock('a = 1\n', 'node fra2', NODE)}b = 2\n`);
  expect(removeBlock(removeBlock(edited, 'node fra') ?? '', 'node fra2')).toBe('a = 1\n');
});

test.each(['a = 1\n', `a = 1\n${BLOCK.replace('# end node fra\n', '')}`, BLOCK.replace('# begin', '#begin')])(
  'a block with a missing mark is not found',
  (text) => {
    expect(removeBlock(text, 'node fra')).toBeUndefined();
  },
);
