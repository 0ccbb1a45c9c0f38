/**
 * The repositories whose images a caller may list: those of its organization, or of one that it names, as far as it may
 * pull them. Of others' it sees what is public. A credential of no organization that names none sees all that it may
 * pull.
 */
import type { OrganizationName } from '../oci/reference.ts';
import { type Credential, pullableRanges } from './credential.ts';

export interface NameRange {
  /** Inclusive. */
  readonly from: string;
  /** Exclusive. */
  readonly to: string;
}

export interface Listable {
  readonly ranges: readonly NameRange[];
  /** Where public repositories come on top; undefined where the ranges hold everything. */
  readonly publicWithin: NameRange | undefined;
}

/** Every name. */
const ALL: NameRange = { from: '', to: '\u{7f}' };

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
