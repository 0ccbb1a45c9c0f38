/** `log.jsonl` of a local run: one JSON object per line, with its time first. */
import { createWriteStream, fchmodSync, fstatSync, openSync } from 'node:fs';

/** A message from workerd: its own, or one from the Worker's console. */
export interface LoggedMessage {
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
  readonly level: string;
  readonly message: string;
}

export interface LogFile {
  readonly write: (logged: LoggedMessage) => void;
  readonly end: () => Promise<void>;
}

/** Opens the log for appending. Only its owner may read it, because it names private repositories. */
export function openLog(path: string): LogFile {
  const fd = openSync(path, 'a', 0o600);
  // The path can be a link to a device, whose mode must not change.
  if (fstatSync(fd).isFile()) fchmodSync(fd, 0o600);
  const file = createWriteStream(path, { fd });
  // A full disk must not stop the registry. Lines are lost until the next start.
  file.once('error', (error) =>
    console.error(`cannot write the log ${path}: ${error.message}. Logging stops until the next start.`),
  );
  return {
    write: (logged) => {
      if (file.writable) file.write(`${lineOf(logged)}\n`);
    },
    end: () => new Promise((done) => (file.writable ? file.end(done) : done())),
  };
}

/**
 * Returns the log line for a message. The Worker's messages already are JSON with a time; those of workerd are text,
 * often of several lines.
 */
export function lineOf({ timestamp, level, message }: LoggedMessage): string {
  if (isLine(message)) return message;
  return JSON.stringify({ time: new Date(timestamp).toISOString(), level, workerd: message });
}

function isLine(message: string): boolean {
  if (!message.startsWith('{"time":"') || message.includes('\n')) return false;
  try {
    JSON.parse(message);
    return true;
  } catch {
    return false;
  }
}
