/** A copy of wrangler.toml to change, and an operator that only records commands. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import type { Operator, Ran } from '../../../src/local/operator.ts';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

export interface RecordedOperator extends Operator {
  readonly ran: readonly string[];
  /** Everything that was printed. */
  readonly screen: () => string;
}

/**
 * Returns an operator. A command gets the first of the answers whose name it starts with. Without one, it succeeds and
 * prints nothing.
 */
export function recordedOperator(answers: Readonly<Record<string, Partial<Ran>>> = {}): RecordedOperator {
  const ran: string[] = [];
  const lines: string[] = [];
  return {
    ran,
    screen: () => lines.join('\n'),
    print: (line) => void lines.push(line),
    run: (command) => {
      const text = command.join(' ');
      ran.push(text);
      const [, answer = {}] = Object.entries(answers).find(([start]) => text.startsWith(start)) ?? [];
      return { status: 0, stdout: '', ...answer };
    },
  };
}

export interface TomlFile {
  readonly path: string;
  readonly folder: string;
  read(): Promise<string>;
  write(text: string): Promise<void>;
}

/** Copies the repository's wrangler.toml to a temporary folder, anew for each test. */
export function wranglerTomlForEachTest(): TomlFile {
  const file = {
    path: '',
    folder: '',
    read: async () => readFile(file.path, 'utf8'),
    write: async (text: string) => writeFile(file.path, text),
  };
  beforeAll(async () => {
    file.folder = await mkdtemp(join(tmpdir(), 'berth-operator-'));
    file.path = join(file.folder, 'wrangler.toml');
  });
  beforeEach(async () => cp(join(ROOT, 'wrangler.toml'), file.path));
  afterAll(async () => rm(file.folder, { recursive: true, force: true }));
  return file;
}
