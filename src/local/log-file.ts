/** `log.jsonl` of a local run: one JSON object a line, each with its time first. */
import { createWriteStream, fchmodSync, fstatSync, openSync } from 'node:fs';

/** What workerd writes for a line of its own, or of the Worker's console. */
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

/** Opens the log to append to it; only its owner may read it, since it names private repositories. */
export function openLog(path: string): LogFile {
  const fd = openSync(path, 'a', 0o600);
  // It can be a link to a device.
  if (fstatSync(fd).isFile()) fchmodSync(fd, 0o600);
  const file = createWriteStream(path, { fd });
  // A disk that is full must not end the registry: lines are lost until the next start.
  file.once('error', (error) => console.error(`the log ${path} cannot be written any more: ${error.message}`));
  return {
    write: (logged) => {
      if (file.writable) file.write(`${lineOf(logged)}\n`);
    },
    end: () => new Promise((done) => (file.writable ? file.end(done) : done())),
  };
}

/** Lines of the Worker are JSON with a time already. Those of workerd itself are text, often of several lines. */
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
