/** Manages the settings of mirrors: the management API without HTTP. It never returns an upstream's password. */
import type { Config } from '../config.ts';
import type { Namespace } from '../namespaces/namespace.ts';
import { OciError } from '../oci/errors.ts';
import { isGlob } from '../oci/glob.ts';
import { nameProblem, type OrganizationName } from '../oci/reference.ts';
import { composeControlData, composeMirrorList, composeStores } from '../registry/compose.ts';
import type { Database } from '../stores/database.ts';
import type { Actor } from '../stores/organizations/audit-rows.ts';
import { MAX_MIRRORS } from '../stores/organizations/limits.ts';
import {
  allMirrors,
  type Mirror,
  type MirrorChange,
  mirrorOf,
  removeMirror,
  setMirror,
} from '../stores/organizations/mirrors.ts';
import { parseUpstream } from '../upstream/address.ts';
import { reachOf } from '../upstream/reach.ts';

export interface MirrorSummary extends Omit<Mirror, 'credential'> {
  /** The user name for the upstream; undefined for none. */
  readonly username: string | undefined;
}

export interface NewMirror extends Omit<MirrorSummary, 'changedAt'> {
  /** Undefined keeps the stored password. */
  readonly password: string | undefined;
}

export class Mirrors {
  readonly #config: Config;
  readonly #env: object;
  readonly #changed: () => void;

  /** @param changed called after every change that the nodes have to apply */
  constructor(config: Config, env: object, changed: () => void) {
    this.#config = config;
    this.#env = env;
    this.#changed = changed;
  }

  /** Returns all mirrors, in order of their organizations. */
  async all(): Promise<MirrorSummary[]> {
    return (await allMirrors(this.#database)).map(summaryOf);
  }

  /** @throws OciError NOT_FOUND if the organization is no mirror */
  async of(organization: OrganizationName): Promise<MirrorSummary> {
    const mirror = await mirrorOf(this.#database, organization);
    if (mirror === undefined) throw noMirror(organization);
    return summaryOf(mirror);
  }

  /** @throws OciError NOT_FOUND if the organization is no mirror, as far as a namespace has heard */
  async requireAt(namespace: Namespace, organization: OrganizationName): Promise<void> {
    const mirrors = await composeMirrorList(this.#env, namespace);
    if (!mirrors.some((each) => each.organization === organization)) throw noMirror(organization);
  }

  /**
   * Makes an organization a mirror, or replaces its settings.
   * @throws OciError FIELD_INVALID, NOT_FOUND without the organization, CONFLICT if there are too many mirrors
   */
  async set({ username, password, ...mirror }: NewMirror, by: Actor): Promise<MirrorSummary> {
    checkSettings(mirror, this.#config);
    if (username === undefined && password !== undefined)
      throw invalid('username', 'is missing: name the user whose password it is');
    const credential = username === undefined ? undefined : { user: username, secret: password };
    const made = { ...mirror, credential, changedAt: Date.now() };
    const changedAt = await setMirror(this.#database, made, by);
    if (changedAt === undefined) throw await this.#refusalOf(made);
    this.#changed();
    return summaryOf({ ...made, changedAt });
  }

  /** Returns why a mirror could not be set. */
  async #refusalOf({ organization, credential }: MirrorChange): Promise<OciError> {
    if ((await composeControlData(this.#env, this.#config.central).organization(organization)) === undefined)
      return new OciError('NOT_FOUND', { message: `there is no organization ${organization}` });
    if (credential !== undefined && credential.secret === undefined)
      return invalid('password', 'is needed: a stored one is kept only for the same upstream, login host and user');
    return new OciError('CONFLICT', {
      message: `there are ${MAX_MIRRORS} mirrors already, and no more are possible: remove one first`,
    });
  }

  /** Makes a mirror an ordinary organization, which keeps the images that were pulled. @throws OciError NOT_FOUND */
  async remove(organization: OrganizationName, by: Actor): Promise<void> {
    if (!(await removeMirror(this.#database, organization, Date.now(), by))) throw noMirror(organization);
    this.#changed();
  }

  get #database(): Database {
    return composeStores(this.#config, this.#env)[0].database;
  }
}

/** @throws OciError FIELD_INVALID */
function checkSettings(
  { from, loginHost, prefix, repositories, pushes, expires }: Omit<NewMirror, 'username' | 'password'>,
  config: Config,
): void {
  parseUpstream(from, loginHost, reachOf(config));
  if (prefix !== '' && nameProblem(`o/${prefix}`) !== undefined)
    throw invalid('prefix', 'must be a path of lowercase names, without a slash at its ends');
  const bad = repositories.find((name) => !isGlob(name) && nameProblem(`o/${name}`) !== undefined);
  if (bad !== undefined) throw invalid('repositories', `${bad.slice(0, 100)} is not a name`);
  if (pushes === 'forwarded' && expires !== Infinity)
    throw invalid('expires_seconds', 'must be null with forwarded pushes, because some may still wait');
}

function summaryOf({ credential, ...mirror }: MirrorChange): MirrorSummary {
  return { ...mirror, username: credential?.user };
}

function noMirror(organization: OrganizationName): OciError {
  return new OciError('NOT_FOUND', { message: `the organization ${organization} is not a mirror` });
}

function invalid(field: string, problem: string): OciError {
  return new OciError('FIELD_INVALID', { message: `${field}: ${problem}`, detail: { field } });
}
