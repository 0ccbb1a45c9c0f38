import { raw } from 'hono/html';
import type { Child, FC } from 'hono/jsx';
import type { SignedIn } from './context.ts';
import { administers } from './rights.ts';
import { FORM_TOKEN } from './sign-in.ts';

interface PageProps {
  readonly title: string;
  /** Undefined on pages for those who have not signed in. */
  readonly reader?: SignedIn | undefined;
  /** The path of the section that the page belongs to. */
  readonly section?: string;
  readonly children?: Child;
}

/** A refresh that gets an error, such as 401 once the session has ended, leaves the page as it is. */
const HTMX = JSON.stringify({ includeIndicatorCSS: false, noSwap: [204, 304, '4xx', '5xx'] });

/** A whole page. */
export const Page: FC<PageProps> = ({ title, reader, section, children }) => (
  <>
    {raw('<!doctype html>')}
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="htmx-config" content={HTMX} />
        <title>{title} · Berth</title>
        <link rel="stylesheet" href="/assets/style.css" />
        <script src="/assets/htmx.js" defer></script>
        <script src="/assets/page.js" defer></script>
      </head>
      <body>
        <a class="skip" href="#content">
          Skip to the content
        </a>
        <header>
          <a class="brand" href="/">
            Berth
          </a>
          {reader && <Navigation reader={reader} section={section} />}
        </header>
        <main id="content">
          <h1>{title}</h1>
          {children}
        </main>
      </body>
    </html>
  </>
);

const Navigation: FC<{ reader: SignedIn; section: string | undefined }> = ({ reader, section }) => (
  <>
    <nav aria-label="Sections">
      {sectionsFor(reader).map(([path, name]) => (
        <a href={path} aria-current={path === section ? 'page' : undefined}>
          {name}
        </a>
      ))}
    </nav>
    <Form reader={reader} action="/sign-out" class="sign-out">
      <span>{reader.session.user}</span>
      <button type="submit">Sign out</button>
    </Form>
  </>
);

/** Returns the sections that the reader's credential may open. */
function sectionsFor(reader: SignedIn): (readonly [path: string, name: string])[] {
  const all = reader.caller.kind === 'administrator';
  const { organization } = reader.caller;
  return [
    ...(all ? [['/', 'Overview'] as const] : []),
    ['/images', 'Images'],
    ...(all ? [['/organizations', 'Organizations'] as const] : []),
    ...(!all && administers(reader) && organization !== null
      ? [[`/organizations/${organization}`, 'Organization'] as const]
      : []),
    ...(all ? [['/replication', 'Replication'] as const, ['/storage', 'Storage'] as const] : []),
    ...(administers(reader) ? [['/audit', 'Audit'] as const] : []),
    ['/reference', 'API'],
  ];
}

interface FormProps {
  readonly reader: SignedIn;
  readonly action: string;
  readonly class?: string;
  readonly children?: Child;
}

/** A form that changes something. It carries the session's token. */
export const Form: FC<FormProps> = ({ reader, action, children, ...rest }) => (
  <form method="post" action={action} class={rest.class}>
    <input type="hidden" name={FORM_TOKEN} value={reader.formToken} />
    {children}
  </form>
);

/** A form with one button. */
export const Action: FC<Omit<FormProps, 'children'> & { label: string; fields?: Readonly<Record<string, string>> }> = ({
  label,
  fields = {},
  ...form
}) => (
  <Form {...form} class={`action ${form.class ?? ''}`}>
    {Object.entries(fields).map(([name, value]) => (
      <input type="hidden" name={name} value={value} />
    ))}
    <button type="submit">{label}</button>
  </Form>
);
