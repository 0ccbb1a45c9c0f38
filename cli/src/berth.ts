#!/usr/bin/env node
/** The program `berth`. */
import { inspect } from 'node:util';
import { CommanderError } from 'commander';
import { TransportError } from '../../src/oci-client/transport.ts';
import { Failure } from './errors.ts';
import { program } from './program.ts';
import { explained } from './registry.ts';
import { harmless } from './terminal.ts';

// A reader such as `head` closes the pipe once it has read enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

try {
  await program().parseAsync();
} catch (caught) {
  const error = explained(caught);
  if (error instanceof CommanderError) {
    // Commander has printed its message. Help and the version end this way too, with code 0.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else if (error instanceof Failure) {
    tell(error.message);
    process.exitCode = error.exitCode;
  } else if (error instanceof TransportError) {
    tell(error.message);
    process.exitCode = 1;
  } else {
    console.error(inspect(error).split('\n').map(harmless).join('\n'));
    process.exitCode = 1;
  }
}

/** A message may quote a registry, which must not control the terminal. */
function tell(message: string): void {
  console.error(`berth: ${harmless(message)}`);
}
