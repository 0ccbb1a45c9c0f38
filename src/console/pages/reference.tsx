/** The reference of the management API, rendered from its document. The reader can try each operation. */
import { Hono } from 'hono';
import { html } from 'hono/html';
import type { Child, FC } from 'hono/jsx';
import { Table } from '../components.tsx';
import type { ConsoleEnv, SignedIn } from '../context.ts';
import { Page } from '../layout.tsx';
import { type Document, fieldsOf, type Operation, type Schema, schemaOf, typeOf } from '../openapi.ts';
import { withQuery } from '../paths.ts';
import { tryPages } from './try-operation.tsx';

const DOCUMENT = '/api/openapi.json';

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
          document is at <code>{DOCUMENT}</code>. You can try each of them here, at central. Changes are real: the
          console asks before it sends one.
        </p>
        {operations}
      </Page>,
    );
  });

  pages.route(
    '/',
    tryPages(async (reader) => (await known(reader)).document),
  );
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
      {method !== 'get' && (
        <p>
          <a href={withQuery('/reference/change', { method, path })}>Try it…</a>
        </p>
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
