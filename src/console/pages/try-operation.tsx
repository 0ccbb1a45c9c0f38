/**
 * Requests to the management API that the reader writes on the page of the reference, and that are sent as the reader:
 * reads at once, changes once they are confirmed.
 */
import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { FC } from 'hono/jsx';
import { Problem } from '../components.tsx';
import type { ConsoleContext, ConsoleEnv, SignedIn } from '../context.ts';
import { FormFields } from '../form.ts';
import { Form, Page } from '../layout.tsx';
import { type Document, exampleOf, type Operation, schemaOf } from '../openapi.ts';
import { withQuery } from '../paths.ts';
import { RegistryError } from '../registry-client.ts';

/** The most characters of an answer that are shown. */
const MAX_SHOWN = 64 * 1024;

const CHANGES = ['post', 'put', 'patch', 'delete'] as const;
type Change = (typeof CHANGES)[number];

/** @param documentFor reads the document of the API as the reader */
export function tryPages(documentFor: (reader: SignedIn) => Promise<Document>): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/reference/try', async (c) => {
    const reader = c.get('reader');
    const path = c.req.query('path') ?? '';
    const operation = (await documentFor(reader)).paths[path]?.['get'];
    if (operation === undefined) throw new HTTPException(404, { message: 'the API has no such read' });
    const asked = pathOf(path, operation, (name) => c.req.query(name) ?? '');
    return answered(c, `GET ${asked}`, () => reader.registry.get(asked));
  });

  pages.get('/reference/change', async (c) => {
    const reader = c.get('reader');
    const document = await documentFor(reader);
    const change = changeIn(document, c.req.query('method'), c.req.query('path'));
    const schema = schemaOf(change.operation.requestBody);
    const body = schema === undefined ? undefined : JSON.stringify(exampleOf(document, schema), undefined, 2);
    return c.html(
      <Page title={`Try ${change.method.toUpperCase()} ${change.path}`} reader={reader} section="/reference">
        <p>{change.operation.summary}</p>
        <p>This changes the registry. The next page shows the whole request before it is sent.</p>
        <Form reader={reader} action="/reference/change" class="stacked">
          <Named change={change} />
          {(change.operation.parameters ?? []).map(({ name, required }) => (
            <label>
              {name}
              <input name={parameterField(name)} required={required === true} />
            </label>
          ))}
          {body !== undefined && (
            <label>
              Body (JSON)
              <textarea name="body" rows={8}>
                {body}
              </textarea>
            </label>
          )}
          <button type="submit">Continue</button>
        </Form>
      </Page>,
    );
  });

  pages.post('/reference/change', async (c) => {
    const reader = c.get('reader');
    const form = await FormFields.of(c);
    const change = changeIn(await documentFor(reader), form.text('method'), form.text('path'));
    const valueOf = (name: string): string => form.text(parameterField(name));
    const asked = pathOf(change.path, change.operation, valueOf);
    const body = change.operation.requestBody === undefined ? undefined : form.text('body');
    const parsed = body === undefined ? undefined : jsonIn(body);
    const method = change.method.toUpperCase() as Uppercase<Change>;
    if (form.text('confirmed') === 'yes')
      return answered(c, `${method} ${asked}`, () => reader.registry.change(method, asked, parsed));
    return c.html(
      <Page title={`${method} ${asked}`} reader={reader} section="/reference">
        <p>Send this request as {reader.session.user}? Its change takes effect at once.</p>
        {body !== undefined && <pre tabindex={0}>{body}</pre>}
        <Form reader={reader} action="/reference/change" class="action">
          <Named change={change} />
          {(change.operation.parameters ?? []).map(({ name }) => (
            <input type="hidden" name={parameterField(name)} value={valueOf(name)} />
          ))}
          {body !== undefined && <input type="hidden" name="body" value={body} />}
          <input type="hidden" name="confirmed" value="yes" />
          <button type="submit">Send the request</button>
        </Form>
        <a href="/reference">Cancel</a>
      </Page>,
    );
  });
  return pages;
}

interface KnownChange {
  readonly method: Change;
  /** With its parameters in braces. */
  readonly path: string;
  readonly operation: Operation;
}

/** @throws HTTPException 404 */
function changeIn(document: Document, method: string | undefined, path = ''): KnownChange {
  const known = CHANGES.find((each) => each === method);
  const operation = known && document.paths[path]?.[known];
  if (operation === undefined) throw new HTTPException(404, { message: 'the API has no such change' });
  return { method: known as Change, path, operation };
}

const Named: FC<{ change: KnownChange }> = ({ change: { method, path } }) => (
  <>
    <input type="hidden" name="method" value={method} />
    <input type="hidden" name="path" value={path} />
  </>
);

/** Returns the name of a parameter's field in a form. The prefix distinguishes it from other fields. */
function parameterField(name: string): string {
  return `parameter-${name}`;
}

/** Returns the path to send a request to. */
function pathOf(template: string, { parameters = [] }: Operation, valueOf: (name: string) => string): string {
  const path = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(valueOf(name)));
  const inQuery = parameters.filter((parameter) => parameter.in === 'query');
  return withQuery(path, Object.fromEntries(inQuery.map(({ name }) => [name, valueOf(name)])));
}

/** @throws HTTPException 400 */
function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new HTTPException(400, { message: 'the body is not JSON: go back and correct it', cause });
  }
}

/** Sends a request, and shows the answer. */
async function answered(c: ConsoleContext, title: string, send: () => Promise<unknown>): Promise<Response> {
  const { status, text, problem } = await answerOf(send);
  c.status(status as 200);
  return c.html(
    <Page title={title} reader={c.get('reader')} section="/reference">
      <Problem message={problem} />
      {text !== undefined && <pre tabindex={0}>{text.slice(0, MAX_SHOWN)}</pre>}
      {(text?.length ?? 0) > MAX_SHOWN && <p>The rest of the answer is not shown.</p>}
      {text === undefined && problem === undefined && <p>Done. The answer has no body.</p>}
      <p>
        <a href="/reference">Back to the reference</a>
      </p>
    </Page>,
  );
}

interface Answered {
  readonly status: number;
  /** JSON; undefined for none. */
  readonly text?: string | undefined;
  readonly problem?: string;
}

async function answerOf(send: () => Promise<unknown>): Promise<Answered> {
  try {
    return { status: 200, text: JSON.stringify(await send(), undefined, 2) };
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    return { status: error.status, problem: `${error.status}: ${error.message}` };
  }
}
