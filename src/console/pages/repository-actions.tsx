/** The changes of a whole repository: whether it is public, and its removal. */
import type { FC } from 'hono/jsx';
import type { ListedRepository } from '../answers.ts';
import type { SignedIn } from '../context.ts';
import { Action } from '../layout.tsx';
import { repositoryPath } from '../paths.ts';
import { may } from '../rights.ts';

/** Shows them to those who administer the repository. */
export const RepositoryActions: FC<{ reader: SignedIn; repository: Pick<ListedRepository, 'name' | 'visibility'> }> = ({
  reader,
  repository: { name, visibility },
}) => {
  if (!may(reader, 'administer', name)) return <></>;
  const other = visibility === 'public' ? 'private' : 'public';
  return (
    <div class="actions">
      <Action
        reader={reader}
        action={`${repositoryPath(name)}/-/visibility`}
        fields={{ visibility: other }}
        label={`Make ${other}`}
      />
      <a href={`${repositoryPath(name)}/-/delete`} aria-label={`Delete ${name}`}>
        Delete…
      </a>
    </div>
  );
};
