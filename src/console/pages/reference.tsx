/** The reference of the management API, rendered from its document. The reader can try each read. */
import { Hono } from 'hono';
import { html } from 'hono/html';
import { HTTPException } from 'hono/http-exception';
import type { Child, FC } from 'hono/jsx';
import { Problem, Table } from '../components.tsx';
import type { ConsoleEnv, SignedIn } from '../context.ts';
import { Page } from '../layout.tsx';
import { type Document, fieldsOf, type Operation, type Schema, schemaOf, typeOf } from '../openapi.ts';
import { withQuery } from '../paths.ts';
import { RegistryError } from '../registry-client.ts';

const DOCUMENT = '/api/openapi.json';
/** The most characters of an answer that are shown. */
const MAX_SHOWN = 64 * 1024;

export function referencePages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  // The document is part of the Worker, so an isolate reads and renders it once.
  let rendered: Rendered | undefined;
  const known = async ({ registry }: SignedIn): Promise<Rendered> => {
    if (rendered !== undefined) return rendered;
    const document = await registry.get<Document>(DOCUMENT);
    rendered = { document, operations: await html`${<Operations document={document} />}` };
    return rendered;
  };
  pages.get('/reference', async (c) => {
    const reader = c.get('reader');
    const { operations } = await known(reader);
    return c.html(
      <Page title="API" reader={reader} section="/reference">
        <p>
          Every host of a registry answers these requests, with the user and secret that you signed in with. The
          document is at <code>{DOCUMENT}</code>. Reads can be tried here: they are sent to central.
        </p>
        {operations}
      </Page>,
    );
  });

  pages.get('/reference/try', async (c) => {
    const reader = c.get('reader');
    const { path: template = '', ...values } = c.req.query();
    const { document } = await known(reader);
    const operation = document.paths[template]?.['get'];
    if (operation === undefined) throw new HTTPException(404, { message: 'the API has no such read' });
    const valueOf = (name: string): string => values[name] ?? '';
    const path = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(valueOf(name)));
    const inQuery = (operation.parameters ?? []).filter((parameter) => parameter.in === 'query');
    const asked = withQuery(path, Object.fromEntries(inQuery.map(({ name }) => [name, valueOf(name)])));
    const answer = await answerOf(reader, asked);
    c.status(answer.status as 200);
    return c.html(
      <Page title={`GET ${asked}`} reader={reader} section="/reference">
        <Problem message={answer.problem} />
        {answer.text !== undefined && <pre tabindex={0}>{answer.text.slice(0, MAX_SHOWN)}</pre>}
        {(answer.text?.length ?? 0) > MAX_SHOWN && <p>The rest of the answer is not shown.</p>}
        <p>
          <a href="/reference">Back to the reference</a>
        </p>
      </Page>,
    );
  });
  return pages;
}

interface Rendered {
  readonly document: Document;
  /** All operations and the meanings of their error statuses, rendered. */
  readonly operations: Child;
}

const Operations: FC<{ document: Document }> = ({ document }) => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  return (
    <>
      {operations.map(({ path, method, operation }) => (
        <details class="operation">
          <summary>
            <code>
              {method.toUpperCase()} {path}
            </code>{' '}
            {operation.summary}
          </summary>
          <Operated document={document} path={path} method={method} operation={operation} />
        </details>
      ))}
      <h2>Errors</h2>
      <Table
        caption="Statuses of errors"
        columns={['Status', 'Meaning']}
        rows={Object.entries(errorsOf(operations.map(({ operation }) => operation)))}
        empty="There are none."
      />
    </>
  );
};

interface Tried {
  readonly status: number;
  readonly text?: string;
  readonly problem?: string;
}

async function answerOf({ registry }: SignedIn, asked: string): Promise<Tried> {
  try {
    return { status: 200, text: JSON.stringify(await registry.get(asked), undefined, 2) };
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    return { status: error.status, problem: `${error.status}: ${error.message}` };
  }
}

/** Returns the meaning of each error status. All operations share the meanings. */
function errorsOf(operations: readonly Operation[]): Record<string, string> {
  const all = operations.flatMap(({ responses }) => Object.entries(responses));
  const errors = all.filter(([status]) => Number(status) >= 400);
  return Object.fromEntries(errors.map(([status, { description }]) => [status, description]));
}

interface OperatedProps {
  readonly document: Document;
  readonly path: string;
  readonly method: string;
  readonly operation: Operation;
}

const Operated: FC<OperatedProps> = ({ document, path, method, operation }) => {
  const { parameters = [], requestBody, responses } = operation;
  const body = schemaOf(requestBody);
  return (
    <>
      {parameters.length > 0 && (
        <Table
          caption={`Parameters of ${method.toUpperCase()} ${path}`}
          columns={['Parameter', 'In', 'Type', 'Meaning']}
          stacks
          rows={parameters.map(({ name, in: place, schema, description }) => [
            <code>{name}</code>,
            place,
            typeOf(document, schema),
            description ?? schema.description ?? '',
          ])}
          empty=""
        />
      )}
      {body && <Fields document={document} schema={body} caption={`Body of ${method.toUpperCase()} ${path}`} />}
      {Object.entries(responses)
        .filter(([status]) => Number(status) < 400)
        .map(([status, response]) => (
          <Answer document={document} status={status} response={response} of={`${method.toUpperCase()} ${path}`} />
        ))}
      <p>
        Errors:{' '}
        {Object.keys(responses)
          .filter((status) => Number(status) >= 400)
          .join(', ')}
      </p>
      {method === 'get' && (
        <form class="inline" action="/reference/try">
          <input type="hidden" name="path" value={path} />
          {parameters.map(({ name, required }) => (
            <label>
              {name}
              <input name={name} required={required === true} />
            </label>
          ))}
          <button type="submit">Try it</button>
        </form>
      )}
    </>
  );
};

const Answer: FC<{
  document: Document;
  status: string;
  response: Operation['responses'][string];
  of: string;
}> = ({ document, status, response, of }) => {
  const schema = schemaOf(response);
  return (
    <>
      <p>
        {status}: {response.description}
      </p>
      {schema && <Fields document={document} schema={schema} caption={`Answer ${status} to ${of}`} />}
    </>
  );
};

const Fields: FC<{ document: Document; schema: Schema; caption: string }> = ({ document, schema, caption }) => (
  <Table
    caption={caption}
    columns={['Field', 'Type', 'Meaning']}
    stacks
    rows={fieldsOf(document, schema).map(({ name, type, isRequired, description }) => [
      <code>{name}</code>,
      isRequired ? type : `${type}, optional`,
      description,
    ])}
    empty="It has no fields."
  />
);
