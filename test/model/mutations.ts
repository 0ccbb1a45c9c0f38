/** Mistakes that the model makes on purpose, to show that it would find them. */
export const MUTATIONS = {
  'version-per-row': 'versions per row instead of per transaction',
  'quiet-404': 'a 404 that does not raise the clock',
  'node-first': 'a deletion written at the node before central',
  'tombstone-miss': 'a tombstone treated as a miss',
  'any-outboxEntry': 'an outbox entry deleted whatever its version',
  'changeLog-holders': 'a deletion sent only to nodes that hold the thing',
  'removal-of-known': 'a removal that makes tombstones only of what central knows',
  'removal-once': 'a removal that a store applies to what it holds, and forgets',
  'later-type': 'of two media types the later one, whatever they are',
  'push-retypes': 'a push that changes the media type of a live manifest',
  'dead-type': 'a media type that outlives the deletion of its manifest',
  'equal-version': 'a clock that is not raised to a version equal to the wall clock',
} as const;

export type Mutation = keyof typeof MUTATIONS;

export function isMutation(name: string): name is Mutation {
  return Object.hasOwn(MUTATIONS, name);
}
