/** The part of an organization's page that says what it is a mirror of. */
import type { FC } from 'hono/jsx';
import { PUSHES } from '../../http/api/mirror-schemas.ts';
import type { Mirror, NewMirror } from '../answers.ts';
import { Facts, Time } from '../components.tsx';
import type { SignedIn } from '../context.ts';
import type { FormFields } from '../form.ts';
import { Action, Form } from '../layout.tsx';

const MINUTE_SECONDS = 60;
const DAY_SECONDS = 86_400;
const MAX_MINUTES = 500_000;
const MAX_DAYS = 3650;

/** Returns the settings that the form holds. @throws HTTPException 400 for something else than a number */
export function mirrorFrom(form: FormFields): NewMirror {
  const orNull = (name: string): string | null => form.text(name).trim() || null;
  const repositories = form
    .text('repositories')
    .split(/[\s,]+/)
    .filter((pattern) => pattern !== '');
  const minutes = form.number('minutes', MAX_MINUTES);
  const days = form.number('days', MAX_DAYS);
  const keptDays = form.number('kept_days', MAX_DAYS);
  const password = form.text('password');
  return {
    from: form.text('from').trim(),
    prefix: form.text('prefix').trim(),
    login_host: orNull('login_host'),
    username: orNull('username'),
    ...(password !== '' && { password }),
    ...(repositories.length > 0 && { repositories }),
    ...(minutes !== undefined && { ttl_seconds: Math.round(minutes * MINUTE_SECONDS) }),
    stale_seconds: days === undefined ? null : Math.round(days * DAY_SECONDS),
    expires_seconds: keptDays === undefined ? null : Math.round(keptDays * DAY_SECONDS),
    pushes: (form.text('pushes') || 'refused') as Mirror['pushes'],
    public: form.text('public') !== '',
  };
}

/** @param mirror null for an ordinary organization */
export const MirrorPart: FC<{ reader: SignedIn; organization: string; mirror: Mirror | null }> = ({
  reader,
  organization,
  mirror,
}) => {
  const mayChange = reader.caller.kind === 'administrator';
  if (mirror === null && !mayChange) return <></>;
  return (
    <>
      <h2>Mirror</h2>
      {mirror === null ? (
        <p class="empty">It is not a mirror of another registry.</p>
      ) : (
        <Facts
          of={[
            ['Mirror of', mirror.prefix === '' ? mirror.from : `${mirror.from}, below ${mirror.prefix}`],
            ['Repositories', mirror.repositories.join(', ')],
            ['Login', mirror.username ?? 'none'],
            ['A tag is good for', `${mirror.ttl_seconds / MINUTE_SECONDS} minutes`],
            [
              'If the upstream fails',
              mirror.stale_seconds === null ? 'for ever' : `${mirror.stale_seconds / DAY_SECONDS} more days`,
            ],
            [
              'Images that nobody pulls',
              mirror.expires_seconds === null ? 'stay' : `stay for ${mirror.expires_seconds / DAY_SECONDS} days`,
            ],
            ['Pushes', mirror.pushes],
            ['Public', mirror.public ? 'yes' : 'no'],
            ['Changed', <Time at={mirror.changed_at} />],
          ]}
        />
      )}
      {mayChange && <MirrorForm reader={reader} organization={organization} mirror={mirror} />}
    </>
  );
};

const MirrorForm: FC<{ reader: SignedIn; organization: string; mirror: Mirror | null }> = ({
  reader,
  organization,
  mirror,
}) => (
  <details>
    <summary>{mirror === null ? 'Make it a mirror' : 'Change the mirror'}</summary>
    <Form reader={reader} action={`/organizations/${organization}/mirror`} class="stacked">
      <label>
        Mirror of (hub, ghcr, quay, gcr, k8s, ecr-public, or the URL of a registry)
        <input name="from" required value={mirror?.from} />
      </label>
      <label>
        The path before its names there (empty for none)
        <input name="prefix" value={mirror?.prefix} />
      </label>
      <label>
        Repositories
        <input name="repositories" value={mirror?.repositories.join(', ') ?? '*'} />
      </label>
      <label>
        Minutes for which a tag is good
        <input name="minutes" inputmode="decimal" value={String((mirror?.ttl_seconds ?? 900) / MINUTE_SECONDS)} />
      </label>
      <label>
        Days beyond that if it fails (empty for ever)
        <input
          name="days"
          inputmode="decimal"
          value={daysOf(mirror === null ? 7 * DAY_SECONDS : mirror.stale_seconds)}
        />
      </label>
      <label>
        Days for which an image stays that nobody pulls (empty for ever)
        <input name="kept_days" inputmode="decimal" value={daysOf(mirror?.expires_seconds ?? null)} />
      </label>
      <label>
        User there (empty for none)
        <input name="username" autocomplete="off" value={mirror?.username ?? ''} />
      </label>
      <label>
        Password (empty for the stored one)
        <input name="password" type="password" autocomplete="new-password" />
      </label>
      <label>
        Login host (empty for the usual one)
        <input name="login_host" value={mirror?.login_host ?? ''} />
      </label>
      <label>
        Pushes
        <select name="pushes">
          {PUSHES.map((what) => (
            <option selected={what === mirror?.pushes}>{what}</option>
          ))}
        </select>
      </label>
      <fieldset>
        <legend>Access</legend>
        <label>
          <input type="checkbox" name="public" value="yes" checked={mirror?.public} />
          everybody may pull
        </label>
      </fieldset>
      <button type="submit">Set the mirror</button>
    </Form>
    {mirror !== null && (
      <Action
        reader={reader}
        action={`/organizations/${organization}/mirror/remove`}
        label="Make it an ordinary organization"
      />
    )}
  </details>
);

function daysOf(seconds: number | null): string {
  return seconds === null ? '' : String(seconds / DAY_SECONDS);
}
