import { textOf } from './answer.ts';

/** The error for an answer of a registry that refuses, or that makes no sense. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError';
  /** `host[:port]` */
  readonly host: string;
  readonly status: number;
  /** The code of the first error in the body (distribution-spec, "Error Codes"); '' if there is none. */
  readonly code: string;
  readonly headers: Headers;

  constructor(host: string, response: Response, message: string, code = '') {
    super(`${host}: ${message}`);
    this.host = host;
    this.status = response.status;
    this.code = code;
    this.headers = response.headers;
  }
}

interface ErrorBody {
  readonly errors?: readonly { readonly code?: unknown; readonly message?: unknown }[];
}

/**
 * Reads why a registry refused a request. The message of its body is quoted, because it says what to do.
 * @param sent the Authorization header of the request. Its secret is masked if the body repeats it.
 */
export async function refusalOf(request: string, url: URL, response: Response, sent?: string): Promise<RegistryError> {
  const text = await textOf(response);
  const secret = sent?.slice(sent.indexOf(' ') + 1);
  const { code, message } = firstErrorIn(secret === undefined ? text : text.replaceAll(secret, '…'));
  const reason = [code, message].filter((part) => part !== '').join(': ');
  const status = `${request} was answered with status ${response.status}`;
  return new RegistryError(url.host, response, reason === '' ? status : `${status}, ${reason}`, code);
}

function firstErrorIn(body: string): { code: string; message: string } {
  try {
    const [first] = (JSON.parse(body) as ErrorBody).errors ?? [];
    return { code: textIn(first?.code), message: textIn(first?.message) };
  } catch {
    // A proxy in between answers in HTML or plain text.
    return { code: '', message: '' };
  }
}

/** Keeps control characters of a hostile registry off a terminal. */
function textIn(value: unknown): string {
  // oxlint-disable-next-line no-control-regex
  return typeof value === 'string' ? value.replaceAll(/[\u0000-\u001F\u007F-\u009F]+/g, ' ').slice(0, 500) : '';
}
