/** Asks the upstream of a mirror, with a pause after failures, and within the pulls that the upstream allows. */
import type { Config } from '../config.ts';
import { MINUTE } from '../durations.ts';
import { publicReasonOf, reasonOf } from '../upstream/failure.ts';
import { logFailure } from '../log.ts';
import { LoginError } from '../oci-client/authorization.ts';
import type { Host } from '../oci-client/host.ts';
import { Repository } from '../oci-client/repository.ts';
import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest-limits.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { ManifestDescriptor } from '../registry/registry.ts';
import type { Mirror } from '../stores/organizations/mirrors.ts';
import { isolateBudget } from '../stores/uploads/buffer-budget.ts';
import type { Failure, MirrorStatus } from './answers.ts';
import { descriptorOf, type KeptManifest } from './mirror-state.ts';
import { concernsUpstream, Pause } from './pause.ts';
import { type RateLimit, rateLimitIn } from './rate-limit.ts';
import { hostOf, isAbsence, nameAtUpstream } from './reach-upstream.ts';
import { type LoginAnswer, loginFailure, type RefusedLogin } from './shared-login.ts';

/** The longest wait between two attempts of one question. Clients wait meanwhile, so there is one more attempt. */
const LONGEST_WAIT_MILLISECONDS = 700;
/** The longest that an upstream which has failed is left alone, unless it asks for more. */
const LONGEST_PAUSE_MILLISECONDS = 30_000;
const SOON_MILLISECONDS = 1000;

/** Thrown instead of a question to an upstream that has just failed. */
class Paused extends Error {
  override readonly name = 'Paused';
  readonly milliseconds: number;

  constructor(reason: string, milliseconds: number) {
    super(reason);
    this.milliseconds = milliseconds;
  }
}

interface Asked {
  /** The digest that the reference named before. */
  readonly known?: ManifestDescriptor | undefined;
  /** Whether nothing has outdated the question. Without it, a manifest that is read is not kept. */
  readonly isLatest?: () => boolean;
}

export class UpstreamClient {
  readonly #config: Config;
  readonly #keep: (repository: RepositoryName, manifest: KeptManifest) => void;
  readonly #pause = new Pause(LONGEST_PAUSE_MILLISECONDS);
  #host: { readonly changedAt: number; readonly host: Host } | undefined;
  #rateLimit: RateLimit | undefined;

  /** @param keep is given the manifests that are read */
  constructor(config: Config, keep: (repository: RepositoryName, manifest: KeptManifest) => void) {
    this.#config = config;
    this.#keep = keep;
  }

  /** Whether the upstream has failed, and is left alone. */
  get isPaused(): boolean {
    return this.#pause.isOn;
  }

  status(): Pick<MirrorStatus, 'failure' | 'askedAgainAt' | 'rateLimit'> {
    return {
      failure: this.#pause.isOn ? this.#pause.reason : undefined,
      askedAgainAt: this.#pause.isOn ? this.#pause.until : undefined,
      rateLimit: this.#rateLimit,
    };
  }

  /** Describes a manifest. @throws the upstream's failure; Paused if it has just failed */
  async describe(
    mirror: Mirror,
    repository: RepositoryName,
    reference: string,
    { known, isLatest }: Asked = {},
  ): Promise<ManifestDescriptor | undefined> {
    const upstream = this.repository(mirror, repository);
    const described = await upstream.describeManifest(reference, known?.digest);
    this.#pause.end();
    if (described === 'unchanged') return known;
    if (described !== undefined) return described;
    // Some registries answer a HEAD without a digest, or not at all.
    const found = await this.#read(mirror, repository, reference, isLatest);
    return found && descriptorOf(found);
  }

  /** Reads a manifest, and keeps it if the question is still the latest. @returns the failure, if it fails */
  async fetch(
    mirror: Mirror,
    repository: RepositoryName,
    digest: Digest,
    isLatest: () => boolean,
  ): Promise<Failure | undefined> {
    try {
      await this.#read(mirror, repository, digest, isLatest);
      return undefined;
    } catch (error) {
      return isAbsence(error) ? undefined : this.failure(mirror, error, false);
    }
  }

  async #read(
    mirror: Mirror,
    repository: RepositoryName,
    reference: string,
    isLatest: Asked['isLatest'],
  ): Promise<KeptManifest | undefined> {
    const source = this.repository(mirror, repository);
    this.#requirePulls();
    const loan = await isolateBudget.wait(MAX_MANIFEST_BYTES, 0, undefined, mirror.organization);
    try {
      const found = await source.getManifest(reference);
      if (found === undefined) return undefined;
      const kept = { ...found, size: found.bytes.byteLength };
      if (isLatest?.()) this.#keep(repository, kept);
      return kept;
    } finally {
      isolateBudget.giveBack(loan);
    }
  }

  /** @throws Paused if the upstream has just failed */
  repository(mirror: Mirror, repository: RepositoryName, access: 'pull' | 'push' = 'pull'): Repository {
    if (this.#pause.isOn) throw new Paused(this.#pause.publicReason, this.#pause.until - Date.now());
    return new Repository(this.#hostOf(mirror), nameAtUpstream(mirror, this.#config, repository), access);
  }

  /**
   * Logs in for requests that others make, so that they share the tokens of this client.
   * @param refused a challenge, and the header that it refuses; undefined before the first
   */
  async logIn(mirror: Mirror, scope: string, refused: RefusedLogin | undefined): Promise<LoginAnswer> {
    const { error: last } = this.#pause;
    // Many layers must not send a refused password again and again, since that could lock the account.
    if (this.#pause.isOn && last instanceof LoginError) return { failure: loginFailure(last) };
    const { login } = this.#hostOf(mirror);
    try {
      if (refused === undefined) return { header: await login.headerFor(scope) };
      return { header: await login.challenged(refused.challenge, scope, refused.sent) };
    } catch (error) {
      // Layers that share one exchange begin one pause.
      if (error instanceof LoginError && !this.#pause.isOn) this.#pause.begin(error, this.reasonOf(mirror, error));
      return { failure: loginFailure(error) };
    }
  }

  #hostOf(mirror: Mirror): Host {
    const { changedAt } = mirror;
    if (this.#host?.changedAt !== changedAt) {
      const onAnswer = ({ headers }: Response): void => {
        this.#rateLimit = rateLimitIn(headers, Date.now()) ?? this.#rateLimit;
      };
      const host = hostOf(mirror, this.#config, { longestWait: LONGEST_WAIT_MILLISECONDS, onAnswer });
      this.#host = { changedAt, host };
    }
    return this.#host.host;
  }

  /** Notes that the upstream works. */
  answered(): void {
    this.#pause.end();
  }

  /** Logs why something failed, and returns it for operators. */
  reasonOf({ organization, credential }: Mirror, error: unknown): string {
    const reason = reasonOf(error, credential);
    logFailure({ mirror: organization, error: reason });
    return reason;
  }

  /** Gives the upstream a pause after a failure that concerns no single image. */
  leaveAlone(error: unknown, reason: string): void {
    this.#pause.begin(error, reason);
  }

  /**
   * Refuses pulls beyond the upstream's limit. The limit moves on with time, so it counts for a minute only.
   */
  #requirePulls(): void {
    const { limit = 0, remaining = 1, seconds = 0, at = 0 } = this.#rateLimit ?? {};
    const wait = at + MINUTE - Date.now();
    if (remaining > 0 || wait <= 0) return;
    throw new Paused(`it allows ${limit} pulls in ${seconds} s, and they are used up`, wait);
  }

  /** Describes a failure to callers, logs its reason, and gives the upstream a pause. */
  failure(mirror: Mirror, error: unknown, hasAnswered: boolean): Failure {
    if (error instanceof Paused) return { reason: error.message, retryAfter: error.milliseconds, hasAnswered };
    const reason = this.reasonOf(mirror, error);
    if (concernsUpstream(error)) this.#pause.begin(error, reason);
    const retryAfter = Math.max(SOON_MILLISECONDS, this.#pause.until - Date.now());
    return { reason: publicReasonOf(error), retryAfter, hasAnswered };
  }
}
