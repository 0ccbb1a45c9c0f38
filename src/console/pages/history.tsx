/** The writes of a tag, two of which can be compared. */
import { Hono } from 'hono';
import type { FC } from 'hono/jsx';
import type { HistoryEntry } from '../answers.ts';
import { Digest, Next, State, Table, Time } from '../components.tsx';
import type { ConsoleEnv } from '../context.ts';
import { FormFields } from '../form.ts';
import { Action, Page } from '../layout.tsx';
import { apiImage, imagePath, imageRoute, splitImage } from '../paths.ts';

/** The form that compares two writes. Its fields are in the table, beside other forms. */
const FORM = 'difference';

export function historyPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();

  pages.get(imageRoute('/history'), async (c) => {
    const reader = c.get('reader');
    const { repository, reference } = splitImage(c.req.param('image') ?? '');
    const page = await reader.registry.get<{ history: HistoryEntry[]; last: string | null; complete: boolean }>(
      `${apiImage(repository, reference)}/history`,
      { n: 50, last: c.req.query('last') ?? '' },
    );
    const path = imagePath(repository, reference);
    const [to, from] = page.history.filter(({ digest }) => digest !== null);
    return c.html(
      <Page title={`History of ${repository}:${reference}`} reader={reader} section="/images">
        {!page.complete && <p class="problem">A store does not answer, so writes that only it knows of are missing.</p>}
        <Table
          caption="Writes of the tag, latest first"
          columns={['Compare', 'Written', 'At', 'By', 'Digest', 'Replaced', 'Stores that know of it', 'Actions']}
          rows={page.history.map((entry) => [
            from === undefined || entry.digest === null ? '' : <Choice entry={entry} from={from} to={to} />,
            <Time at={timeOf(entry)} />,
            entry.origin,
            entry.author ?? <span class="faint">—</span>,
            entry.digest === null ? (
              <span class="faint">deleted</span>
            ) : (
              <Digest of={entry.digest} href={imagePath(repository, entry.digest)} />
            ),
            entry.current ? <State>current</State> : <Time at={entry.replaced_at} none="—" />,
            entry.stores.join(', '),
            entry.restorable && !entry.current ? (
              <Action
                reader={reader}
                action={`${path}/restore`}
                fields={{ version: String(entry.version), origin: entry.origin }}
                label="Put back"
              />
            ) : (
              ''
            ),
          ])}
          empty="This tag has no history."
        />
        {from !== undefined && (
          <form id={FORM} method="get" action={`${path}/difference`} class="action">
            <button type="submit">Compare the two</button>
          </form>
        )}
        <Next path={`${path}/history`} query={{}} last={page.last} />
        <p>
          <a href={path}>Back to the image</a>
        </p>
      </Page>,
    );
  });

  pages.post(imageRoute('/restore'), async (c) => {
    const { repository, reference } = splitImage(c.req.param('image') ?? '');
    const form = await FormFields.of(c);
    await c.get('reader').registry.change('POST', `${apiImage(repository, reference)}/restore`, {
      version: Number(form.text('version')),
      origin: form.text('origin'),
    });
    return c.redirect(`${imagePath(repository, reference)}/history`, 303);
  });
  return pages;
}

/** Chooses a write as the one to compare from, or to. */
const Choice: FC<{ entry: HistoryEntry; from: HistoryEntry; to: HistoryEntry | undefined }> = ({ entry, from, to }) => (
  <span class="choice">
    {(['from', 'to'] as const).map((name) => (
      <label>
        <input
          type="radio"
          name={name}
          value={entry.digest ?? ''}
          form={FORM}
          checked={entry === (name === 'from' ? from : to)}
          aria-label={`Compare ${name} the write of ${timeOf(entry)} at ${entry.origin}`}
        />
        {name}
      </label>
    ))}
  </span>
);

/** Returns the time of a write: its version counts microseconds since the epoch. */
function timeOf({ version }: HistoryEntry): string {
  return new Date(Math.floor(version / 1000)).toISOString();
}
