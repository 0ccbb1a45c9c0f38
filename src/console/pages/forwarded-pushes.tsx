/** The part of an organization's page about pushes that go on to its upstream. */
import type { FC } from 'hono/jsx';
import type { MirrorStatus } from '../answers.ts';
import { Facts, Table } from '../components.tsx';
import type { SignedIn } from '../context.ts';
import { Action } from '../layout.tsx';

export const ForwardedPushes: FC<{ reader: SignedIn; organization: string; status: MirrorStatus }> = ({
  reader,
  organization,
  status: { pushes, parked, failure },
}) => (
  <>
    <h3>Pushes to central that are forwarded</h3>
    <Facts
      of={[
        ['Pending', pushes.pending],
        ['Announced', pushes.announced],
        ['Settled', pushes.settled],
        ['Parked', pushes.parked],
        ['The upstream fails', failure ?? 'no'],
      ]}
    />
    {parked.length > 0 && (
      <>
        <Table
          caption="Parked pushes"
          columns={['Image', 'Attempts', 'Reason']}
          rows={parked.map(({ repository, tag, digest, attempts, reason }) => [
            tag === null ? `${repository}@${digest}` : `${repository}:${tag}`,
            attempts,
            reason,
          ])}
          empty=""
        />
        <Action reader={reader} action={`/organizations/${organization}/mirror/retry`} label="Try them again" />
      </>
    )}
  </>
);
