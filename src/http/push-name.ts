import { OciError } from '../oci/errors.ts';
import { nameProblem } from '../oci/reference.ts';

/**
 * Refuses a push to a name that no repository can have. It answers DENIED, which docker's classic store shows at once;
 * after a 400, docker would retry for 50 seconds.
 * @throws OciError DENIED, with the name to push to instead
 */
export function requirePushableName(url: URL, name: string): void {
  const problem = nameProblem(name);
  if (problem?.kind !== 'NAME_UNKNOWN') return;
  const message = name.includes('/')
    ? `${problem.message}: push to a shorter name`
    : `a repository name starts with its organization: push to ${url.host}/<organization>/${name.slice(0, 255)}:<tag>`;
  throw new OciError('DENIED', { message, detail: { name: name.slice(0, 300) } });
}
