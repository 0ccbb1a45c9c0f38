/** A POSIX tar archive (ustar). The same entries give the same bytes: there are no times and no owners. */

export interface Content {
  readonly size: number;
  read(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export type TarEntry =
  | { readonly kind: 'file'; readonly path: string; readonly content: Content }
  | { readonly kind: 'link'; readonly path: string; readonly linkTo: string };

const BLOCK = 512;

export async function* tar(entries: readonly TarEntry[]): AsyncGenerator<Uint8Array> {
  for (const entry of entries) {
    yield header(entry);
    if (entry.kind === 'link') continue;
    const { size } = entry.content;
    yield* entry.content.read();
    yield Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
  }
  yield Buffer.alloc(2 * BLOCK);
}

function header(entry: TarEntry): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, digits: number): void => {
    block.write(value.toString(8).padStart(digits, '0'), offset, 'ascii');
  };
  if (Buffer.byteLength(entry.path) > 100) throw new Error(`${entry.path} is too long for a tar header`);
  block.write(entry.path, 0);
  octal(0o755, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(entry.kind === 'file' ? entry.content.size : 0, 124, 11);
  octal(0, 136, 11);
  block.write(entry.kind === 'file' ? '0' : '2', 156, 'ascii');
  if (entry.kind === 'link') block.write(entry.linkTo, 157);
  block.write('ustar\u000000', 257, 'ascii');
  // The checksum is computed with spaces in its own field.
  block.write('        ', 148, 'ascii');
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  block[154] = 0;
  return block;
}
