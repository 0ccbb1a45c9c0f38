/** Lists repositories, by name or by last push, with the fields that a page shows. */
import type { Config } from '../../config.ts';
import { OciError } from '../../oci/errors.ts';
import { isRepositoryName, type OrganizationName, type RepositoryName } from '../../oci/reference.ts';
import { composeStores } from '../compose.ts';
import type { Database } from '../../stores/database.ts';
import { forPage } from '../../stores/deadline.ts';
import { listRepositories } from '../../stores/list-rows.ts';
import type { NameRange } from '../../stores/name-ranges.ts';
import {
  lastPulls,
  MOST_TAGS_COUNTED,
  publicWithin,
  type PushPosition,
  repositoriesByPush,
  repositoriesNamed,
  type RepositoryRow,
} from './repository-rows.ts';

export { MOST_TAGS_COUNTED };

/** The repositories that a page looks at if it is sorted by last push and may not show all of them. */
const LOOKED_AT = 500;

interface Asked {
  /** The repositories to list: those within `ranges`, and the public ones within `publicWithin`. */
  readonly scope: { readonly ranges: readonly NameRange[]; readonly publicWithin: NameRange | undefined };
  /** Names start with it. */
  readonly prefix: string;
  /** The organization to sort by last push; undefined to sort by name. */
  readonly byPushOf: OrganizationName | undefined;
  /** The `last` of the previous page; '' for the first page. */
  readonly after: string;
  readonly limit: number;
}

interface RepositoriesPage {
  readonly repositories: readonly RepositoryRow[];
  /** Undefined on the last page. */
  readonly last: string | undefined;
  /** False if a node's store does not answer, so that its pulls are missing. */
  readonly complete: boolean;
}

/** Returns a page, which may be short although others follow. @throws OciError FIELD_INVALID; UNAVAILABLE */
export async function repositoriesPage(config: Config, env: object, asked: Asked): Promise<RepositoriesPage> {
  const [central, ...nodes] = composeStores(config, env);
  const { names, last } = await (asked.byPushOf === undefined
    ? byName(central.database, asked)
    : byPush(central.database, asked.byPushOf, asked));
  if (names.length === 0) return { repositories: [], last, complete: true };
  const [rows, ...pulls] = await Promise.all([
    repositoriesNamed(central.database, names),
    ...nodes.map(({ database }) => forPage(lastPulls(database, names))),
  ]);
  const repositories = names.flatMap((name) => {
    const row = rows.get(name);
    const pulledAt = Math.max(row?.pulledAt ?? 0, ...pulls.map((at) => at?.get(name) ?? 0));
    return row === undefined ? [] : [{ ...row, pulledAt }];
  });
  return { repositories, last, complete: pulls.every((at) => at !== undefined) };
}

interface Names {
  readonly names: readonly RepositoryName[];
  readonly last: string | undefined;
}

async function byName(database: Database, { scope, prefix, after, limit }: Asked): Promise<Names> {
  const within = (range: NameRange): NameRange[] => common(range, { from: prefix, to: `${prefix}\u{7f}` });
  const open = scope.publicWithin === undefined ? [] : within(scope.publicWithin);
  const found = await Promise.all([
    listRepositories(database, scope.ranges.flatMap(within), false, after, limit + 1),
    ...open.map((range) => publicWithin(database, range, after, limit + 1)),
  ]);
  const all = [...new Set(found.flat())].toSorted();
  const names = all.slice(0, limit);
  return { names, last: all.length > limit ? names.at(-1) : undefined };
}

async function byPush(
  database: Database,
  organization: OrganizationName,
  { scope, prefix, after, limit }: Asked,
): Promise<Names> {
  // Without a range for public ones, the scope is the whole organization.
  const window = scope.publicWithin === undefined && prefix === '' ? limit + 1 : LOOKED_AT;
  const seen = await repositoriesByPush(database, organization, positionIn(after), window);
  const may = seen.filter(
    ({ name, public: isPublic }) =>
      name.startsWith(prefix) &&
      (scope.ranges.some((range) => isIn(name, range)) ||
        (isPublic && scope.publicWithin !== undefined && isIn(name, scope.publicWithin))),
  );
  const shown = may.slice(0, limit);
  const end = may.length > limit ? shown.at(-1) : seen[window - 1];
  return { names: shown.map(({ name }) => name), last: end && `${end.pushedAt}.${end.name}` };
}

function isIn(name: string, { from, to }: NameRange): boolean {
  return name >= from && name < to;
}

/** Returns the names in both ranges. */
function common(a: NameRange, b: NameRange): NameRange[] {
  const both = { from: a.from > b.from ? a.from : b.from, to: a.to < b.to ? a.to : b.to };
  return both.from < both.to ? [both] : [];
}

function positionIn(after: string): PushPosition {
  if (after === '') return { pushedAt: Number.MAX_SAFE_INTEGER, name: '' as RepositoryName };
  const [, pushedAt, name = ''] = /^(\d{1,15})\.(.*)$/s.exec(after) ?? [];
  if (pushedAt !== undefined && isRepositoryName(name)) return { pushedAt: Number(pushedAt), name };
  throw new OciError('FIELD_INVALID', {
    message: 'last: must be the value that the previous page returned',
    detail: { field: 'last' },
  });
}
