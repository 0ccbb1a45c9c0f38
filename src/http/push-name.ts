import { OciError } from '../oci/errors.ts';
import { nameProblem } from '../oci/reference.ts';

/**
 * Refuses a push to a name that no repository can have. docker's classic store tries again for 50 seconds after a 400,
 * and shows a DENIED at once.
 * @throws OciError DENIED, saying where to push to
 */
export function requirePushableName(url: URL, name: string): void {
  const problem = nameProblem(name);
  if (problem?.kind !== 'NAME_UNKNOWN') return;
  const message = name.includes('/')
    ? `${problem.message}: push to a shorter one`
    : `a repository name starts with its organization: push to ${url.host}/<organization>/${name.slice(0, 255)}:<tag>`;
  throw new OciError('DENIED', { message, detail: { name: name.slice(0, 300) } });
}
