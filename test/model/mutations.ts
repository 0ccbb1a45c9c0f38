/** Mistakes that the model makes on purpose, to prove that it finds them. */
export const MUTATIONS = {
  'version-per-row': 'versions per row instead of per transaction',
  'quiet-404': 'a 404 that does not raise the clock',
  'node-first': 'a deletion written at the node before central',
  'tombstone-miss': 'a tombstone treated as a miss',
  'dead-carrier': 'a tag that is not announced with the outbox entry of its manifest, because that is dead',
  'any-outbox-entry': 'an outbox entry deleted whatever its version is',
  'change-log-holders': 'a deletion sent only to nodes that have the tag or manifest',
  'replaced-in-place': 'an entry of the change log that takes the position of the one that it replaces',
  'removal-of-known': 'a removal that writes tombstones only for manifests that central knows',
  'removal-once': 'a removal that a store applies to its rows and then forgets',
  'later-type': 'the later of two media types wins, whatever they are',
  'push-retypes': 'a push that changes the media type of a live manifest',
  'dead-type': 'a media type that outlives the deletion of its manifest',
  'equal-version': 'a clock that is not raised to a version equal to the wall clock',
} as const;

export type Mutation = keyof typeof MUTATIONS;

export function isMutation(name: string): name is Mutation {
  return Object.hasOwn(MUTATIONS, name);
}
