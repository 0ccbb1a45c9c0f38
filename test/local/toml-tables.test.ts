import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { appendTables, removeTables, type Table } from '../../src/local/toml-tables.ts';

const TEXT = `# The file.
name = "berth"

[[a.list]]
name = "first" # [[a.list]]

# About the second,
# in two lines.
[[a.list]]
name = "second"

# Of nothing.

[b]
list = [
  "[[a.list]]",
]
[[a.list]]
name = "third"
`;

describe('removeTables', () => {
  test.each([
    [0, TEXT.replace('\n[[a.list]]\nname = "first" # [[a.list]]\n', '')],
    [1, TEXT.replace('\n# About the second,\n# in two lines.\n[[a.list]]\nname = "second"\n\n# Of nothing.\n', '')],
    [2, TEXT.replace('[[a.list]]\nname = "third"\n', '')],
    [3, TEXT],
  ])('takes out the element %i of an array, with its comment and a blank line, and leaves the rest', (index, left) => {
    expect(removeTables(TEXT, [{ header: 'a.list', index }])).toBe(left);
  });

  test('takes out several at once, each by its index before', () => {
    const one = removeTables(removeTables(TEXT, [{ header: 'a.list', index: 2 }]), [{ header: 'a.list', index: 0 }]);
    const both = [0, 2].map((index) => ({ header: 'a.list', index }));
    expect(removeTables(TEXT, both)).toBe(one);
  });
});

describe('appendTables', () => {
  const table: Table = { header: 'x.list', values: { text: 'a"b', flag: true, hosts: ['a', 'b'] } };

  test('writes elements of arrays at the end, below a comment', () => {
    expect(appendTables('a = 1\n', 'Two.', [table, { header: 'y', values: {} }])).toBe(
      'a = 1\n\n# Two.\n[[x.list]]\ntext = "a\\"b"\nflag = true\nhosts = ["a", "b"]\n\n[[y]]\n',
    );
  });

  test('keeps the line ends of the file, and ends its last line', () => {
    expect(appendTables('a = 1\r\nb = 2', 'One.', [{ header: 'y', values: { c: 'd' } }])).toBe(
      'a = 1\r\nb = 2\r\n\r\n# One.\r\n[[y]]\r\nc = "d"\r\n',
    );
  });
});

test('removing what was added restores every byte, whatever the file was', () => {
  const line = fc.constantFrom(
    '',
    '  ',
    '# comment',
    '#',
    'key = "value" # why',
    '[table]',
    '[[x.list]]',
    ' [[ x.list ]] # spaced',
    'list = ["[[x.list]]"]',
    '[[y]]',
  );
  const name = fc.string({ unit: fc.constantFrom('a', '"', '\\', '#', '[', ']', '=', ' ', 'é'), maxLength: 6 });
  fc.assert(
    fc.property(
      fc.array(line),
      fc.constantFrom('\n', '\r\n'),
      fc.array(name, { minLength: 1, maxLength: 4 }),
      (lines, end, names) => {
        const text = lines.map((each) => each + end).join('');
        const tables = names.map((value, i) => ({ header: i % 2 === 0 ? 'x.list' : 'y', values: { name: value } }));
        const added = appendTables(text, 'Added.', tables);
        expect(added.startsWith(text)).toBe(true);
        const before = (header: string) => lines.filter((each) => each.replaceAll(' ', '').startsWith(`[[${header}]]`)).length;
        const elements = tables.map(({ header }, i) => ({ header, index: before(header) + Math.floor(i / 2) }));
        expect(removeTables(added, elements)).toBe(text);
      },
    ),
    { numRuns: 500 },
  );
});
