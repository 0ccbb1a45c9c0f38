/** An initramfs that Linux boots: a cpio archive of the "newc" format (the kernel's `buffer-format.rst`). */

const REGULAR = 0o100_755;
const DIRECTORY = 0o040_755;
const LINK = 0o120_777;

export function initramfs(busybox: Uint8Array, init: string): Buffer {
  const entries: readonly (readonly [path: string, mode: number, content: Uint8Array])[] = [
    ['bin', DIRECTORY, Buffer.alloc(0)],
    ['bin/busybox', REGULAR, busybox],
    ['bin/sh', LINK, Buffer.from('busybox')],
    ['dev', DIRECTORY, Buffer.alloc(0)],
    ['proc', DIRECTORY, Buffer.alloc(0)],
    ['init', REGULAR, Buffer.from(init)],
    ['TRAILER!!!', 0, Buffer.alloc(0)],
  ];
  return Buffer.concat(entries.flatMap(([path, mode, content], index) => entry(index + 1, path, mode, content)));
}

function entry(inode: number, path: string, mode: number, content: Uint8Array): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const links = mode === DIRECTORY ? 2 : 1;
  const fields = [inode, mode, 0, 0, links, 0, content.byteLength, 0, 0, 0, 0, name.byteLength, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return [...padded(Buffer.concat([Buffer.from(header), name])), ...padded(content)];
}

function padded(bytes: Uint8Array): Uint8Array[] {
  return [bytes, Buffer.alloc((4 - (bytes.byteLength % 4)) % 4)];
}
