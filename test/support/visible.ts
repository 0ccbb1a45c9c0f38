/** Computes `tags.visible` anew from the versions that it depends on, store by store. */

/** SQL: the tags of a store whose `visible` contradicts its versions, except those that wait for a sweep. */
export const WRONGLY_VISIBLE = `
  SELECT t.repository, t.name, t.visible FROM tags t
  LEFT JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest
  WHERE t.visible <> (t.digest IS NOT NULL AND m.digest IS NOT NULL
    AND m.created_version > m.deleted_version AND t.version > m.deleted_version
    AND min(m.created_version, t.version) > (SELECT coalesce(max(x.version), 0) FROM removals x
      WHERE x.name IN (t.repository, substr(t.repository, 1, instr(t.repository, '/') - 1))))
    AND NOT EXISTS (SELECT 1 FROM removals x WHERE x.swept = 0 AND x.version >= t.version
      AND x.name IN (t.repository, substr(t.repository, 1, instr(t.repository, '/') - 1)))`;

export interface WronglyVisible {
  readonly repository: string;
  readonly name: string;
  readonly visible: number;
}

/** @throws if a store shows or hides a tag in contradiction to its versions */
export function requireVisible(store: string, wrong: readonly WronglyVisible[]): void {
  const [tag] = wrong;
  if (tag === undefined) return;
  const is = tag.visible === 1 ? 'is' : 'is not';
  throw new Error(
    `${tag.repository}:${tag.name} ${is} visible in the rows of ${store}, which contradicts its versions`,
  );
}
