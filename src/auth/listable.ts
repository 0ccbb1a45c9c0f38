/**
 * Finds the repositories whose images a caller may list. They belong to the organization that the caller names or, by
 * default, to its own, and it must be able to pull from them: they match its patterns or are public. A credential
 * without an organization may list everything that it may pull, unless the caller names an organization.
 */
import type { OrganizationName } from '../oci/reference.ts';
import type { NameRange } from '../stores/name-ranges.ts';
import { type Credential, pullableRanges } from './credential.ts';

interface Listable {
  readonly ranges: readonly NameRange[];
  /** Public repositories in this range are listed too; undefined if the ranges cover everything already. */
  readonly publicWithin: NameRange | undefined;
}

/** The range of every name. */
export const ALL: NameRange = { from: '', to: '\u{7f}' };

/** Returns the repositories that the caller may list. @param named the organization that the caller names, if any */
export function listable(credential: Credential, named: OrganizationName | undefined): Listable {
  const organization = named ?? (credential.kind === 'organization' ? credential.organization : undefined);
  // "0" is the character after "/".
  const within = organization === undefined ? ALL : { from: `${organization}/`, to: `${organization}0` };
  const ranges = pullableRanges(credential).flatMap(({ from, to }): NameRange[] => {
    const common = { from: from > within.from ? from : within.from, to: to < within.to ? to : within.to };
    return common.from < common.to ? [common] : [];
  });
  const whole = ranges.find(({ from, to }) => from === within.from && to === within.to);
  return whole === undefined ? { ranges, publicWithin: within } : { ranges: [whole], publicWithin: undefined };
}
