/** Compares what a host answers with what the oracle allows, by the events that count as known there. */
import type { OciError } from '../../src/oci/errors.ts';
import { INDEX } from './content.ts';
import type { Target } from './operations.ts';
import type { Event, Oracle } from './oracle.ts';

type Known = ReadonlySet<Event>;

/** @param seen the manifest that the tag names; null for none */
export function checkTag(
  oracle: Oracle,
  { host, repository }: Target,
  tag: string,
  seen: number | null,
  known: Known,
): void {
  if (oracle.tagMayBe(repository, tag, seen, known)) return;
  throw new Error(`${tag} is ${seen} at ${host}\n${oracle.explain(repository)}`);
}

/** @param tags those that a list shows */
export function checkList(oracle: Oracle, { host, repository }: Target, tags: readonly string[], known: Known): void {
  for (const tag of ['x', 'y']) {
    const values = tags.includes(tag) ? [0, 1, 2, INDEX] : [null];
    if (!values.some((value) => oracle.tagMayBe(repository, tag, value, known))) {
      throw new Error(`the list at ${host} says [${tags.join()}]\n${oracle.explain(repository)}`);
    }
  }
}

/**
 * Checks that the tag is on the index that lists the manifest, either by what the host and central know, or by what
 * central alone knows.
 */
export function checkTagsAbove(
  oracle: Oracle,
  { repository }: Target,
  { message, detail = {} }: OciError,
  known: Known,
): void {
  const central = oracle.known('central', true);
  for (const tag of detail['tags'] as string[]) {
    if ([known, central].some((events) => oracle.tagMayBe(repository, tag, INDEX, events))) continue;
    throw new Error(`${message}, but it is not\n${oracle.explain(repository)}`);
  }
}

export function checkManifest(
  oracle: Oracle,
  { host, repository }: Target,
  manifest: number,
  alive: boolean,
  known: Known,
): void {
  if (oracle.manifestMayBe(repository, manifest, alive, known)) return;
  throw new Error(`manifest ${manifest} is ${alive ? 'alive' : 'gone'} at ${host}\n${oracle.explain(repository)}`);
}
