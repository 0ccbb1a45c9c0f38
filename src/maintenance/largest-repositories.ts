/**
 * Adds up once a day the bytes of each repository, for the charts of its organization. A round reads all links in
 * slices, in the order of the repositories, so the repositories of an organization follow each other. The position
 * carries the sums of the current organization from one slice to the next.
 */
import { DAY } from '../durations.ts';
import { type OrganizationName, organizationOf } from '../oci/reference.ts';
import {
  bytesAfter,
  deleteMeasuredBefore,
  type LinkPosition,
  type MeasuredRepositories,
  putLargestRepositories,
  type RepositoryBytes,
} from '../stores/organizations/largest-repositories-rows.ts';
import type { Task } from './round.ts';

/** The most links that a slice reads, and the most old rows that the last slice removes. */
const LINKS = 2000;
/** The most repositories of an organization that are kept by name. */
const NAMED = 50;

/** The start of the next slice, as JSON. */
interface Position {
  readonly after: LinkPosition;
  /** The organization of the last link, without the repository of that link. */
  readonly organization: MeasuredRepositories | undefined;
  /** The repository of the last link, as far as it was read. */
  readonly repository: RepositoryBytes | undefined;
}

const START: Position = { after: { repository: '', digest: '' }, organization: undefined, repository: undefined };

export const measureRepositories: Task = {
  name: 'repositories',
  at: 'central',
  every: () => DAY,
  async slice(_, { database }, { position, round_started_at: roundStartedAt }) {
    const from = position === '' ? START : (JSON.parse(position) as Position);
    const page = await bytesAfter(database, from.after, LINKS);
    const isLast = page.reduce((sum, { links }) => sum + links, 0) < LINKS;
    const done: MeasuredRepositories[] = [];
    let { organization, repository } = from;
    const close = (next: OrganizationName | undefined): void => {
      if (repository !== undefined) organization = withRepository(organization, repository);
      if (organization !== undefined && organization.organization !== next) {
        done.push(organization);
        organization = undefined;
      }
    };
    for (const { name, bytes, unshared, share } of page) {
      if (name === repository?.name) {
        repository = added(repository, { name, bytes, unshared, share });
        continue;
      }
      close(organizationOf(name));
      repository = { name, bytes, unshared, share };
    }
    if (isLast) close(undefined);
    if (done.length > 0) await database.batch([putLargestRepositories(done, roundStartedAt)]);
    const last = page.at(-1);
    if (!isLast && last !== undefined) {
      const after = { repository: last.name, digest: last.last };
      return { position: JSON.stringify({ after, organization, repository } satisfies Position) };
    }
    await deleteMeasuredBefore(database, roundStartedAt, LINKS);
    return { position: undefined };
  },
};

/** Adds a repository to its organization's sums, unless it holds nothing. */
function withRepository(
  known: MeasuredRepositories | undefined,
  repository: RepositoryBytes,
): MeasuredRepositories | undefined {
  if (repository.bytes === 0) return known;
  const { organization, count, bytes, largest } = known ?? {
    organization: organizationOf(repository.name),
    count: 0,
    bytes: 0,
    largest: [],
  };
  return {
    organization,
    count: count + 1,
    bytes: bytes + repository.share,
    largest: [...largest, repository].toSorted((a, b) => b.share - a.share).slice(0, NAMED),
  };
}

function added(a: RepositoryBytes, b: RepositoryBytes): RepositoryBytes {
  return { name: a.name, bytes: a.bytes + b.bytes, unshared: a.unshared + b.unshared, share: a.share + b.share };
}
