/** Starts, shows and cancels the imports of organizations. */
import type { Credential } from '../auth/credential.ts';
import type { Config } from '../config.ts';
import { OciError } from '../oci/errors.ts';
import type { OrganizationName } from '../oci/reference.ts';
import { composeControlData } from '../registry/compose.ts';
import { answerOf } from '../stores/deadline.ts';
import type { UpstreamCredential } from '../upstream/connect.ts';
import { reachOf } from '../upstream/reach.ts';
import { importsOf, type OrganizationImports } from './durable-object.ts';
import type { ImportReport, ImportSummary } from './report.ts';
import { checkImport, importerOf, type ImportRequest } from './request.ts';

export type { ImportReport, ImportRequest, ImportSummary };

export class Imports {
  readonly #config: Config;
  readonly #env: object;
  readonly #organization: OrganizationName;

  constructor(config: Config, env: object, organization: OrganizationName) {
    this.#config = config;
    this.#env = env;
    this.#organization = organization;
  }

  /**
   * Starts an import.
   * @throws OciError FIELD_INVALID, DENIED, TOO_MANY_REQUESTS; UNAUTHORIZED if the caller's credential is gone;
   *   NOT_FOUND without the organization
   */
  async start(
    request: ImportRequest,
    caller: Credential,
    credential: UpstreamCredential | undefined,
  ): Promise<ImportReport> {
    const importer = importerOf(caller, this.#organization, request.prunes);
    checkImport(this.#organization, request, importer, reachOf(this.#config));
    const incarnation = await this.#incarnation();
    const control = composeControlData(this.#env, this.#config.central);
    if (importer.isStored && !(await control.hasValidCredential(importer.id, Date.now())))
      throw new OciError('UNAUTHORIZED', { message: 'the credential was removed, or has expired' });
    const made = {
      id: crypto.randomUUID(),
      madeAt: Date.now(),
      incarnation,
      request,
      importer,
      credential,
    };
    const report = await this.#ask((imports) => imports.start(this.#organization, made));
    if (report !== undefined) return report;
    throw new OciError('TOO_MANY_REQUESTS', {
      message: `too many imports of ${this.#organization} are running, or kept in step: wait for one, or cancel it`,
      headers: { 'Retry-After': '60' },
    });
  }

  async list(): Promise<readonly ImportSummary[]> {
    const incarnation = await this.#incarnation();
    return this.#ask((imports) => imports.reports(incarnation));
  }

  /** @throws OciError NOT_FOUND */
  async report(id: string): Promise<ImportReport> {
    const incarnation = await this.#incarnation();
    return found(id, await this.#ask((imports) => imports.report(id, incarnation)));
  }

  /** Cancels an import, unless it has ended. @throws OciError NOT_FOUND */
  async cancel(id: string): Promise<ImportReport> {
    const incarnation = await this.#incarnation();
    return found(id, await this.#ask((imports) => imports.cancel(id, incarnation)));
  }

  /** Returns when the organization was created, which distinguishes it from an earlier one of its name. */
  async #incarnation(): Promise<number> {
    const control = composeControlData(this.#env, this.#config.central);
    const row = await control.organization(this.#organization);
    if (row !== undefined) return row.created_at;
    throw new OciError('NOT_FOUND', { message: `there is no organization ${this.#organization}` });
  }

  #ask<Answer>(question: (imports: DurableObjectStub<OrganizationImports>) => PromiseLike<Answer>): Promise<Answer> {
    return answerOf(question(importsOf(this.#env, this.#organization)));
  }
}

function found(id: string, report: ImportReport | undefined): ImportReport {
  if (report !== undefined) return report;
  throw new OciError('NOT_FOUND', { message: `there is no import ${id}` });
}
