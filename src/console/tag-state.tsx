/** The state of a tag at one store: a mark, a word, and a color that says the same. */
import type { FC } from 'hono/jsx';
import type { TagAtStores } from './answers.ts';

type TagState = TagAtStores['states'][number]['state'];

interface Shown {
  readonly mark: string;
  readonly word: string;
  readonly class?: 'good' | 'bad' | 'faint';
  readonly meaning: string;
}

const SHOWN: Readonly<Record<TagState, Shown>> = {
  settled: { mark: '✓', word: 'settled', class: 'good', meaning: 'The store has the whole image.' },
  announced: { mark: '↑', word: 'announced', meaning: 'The store knows the image, but lacks some of its bytes.' },
  pending: { mark: '…', word: 'pending', meaning: 'The store took the push. Central does not know of it yet.' },
  parked: { mark: '!', word: 'parked', class: 'bad', meaning: 'Replication gave up. An operator has to retry it.' },
  superseded: { mark: '↺', word: 'superseded', meaning: 'The store has an older write of the tag.' },
  absent: { mark: '–', word: 'absent', class: 'faint', meaning: 'The store does not have the image.' },
  unknown: {
    mark: '?',
    word: 'not known',
    meaning: 'The image has too many parts to check here. Open it to see them.',
  },
};

/** @param answers whether the store answers */
export const TagStateCell: FC<{ state: TagState; answers: boolean }> = ({ state, answers }) => {
  const { mark, word, class: color = '' } = SHOWN[state];
  return (
    <span class={`state ${answers ? color : 'bad'}`}>
      <span aria-hidden="true">{mark}</span> {answers ? word : 'does not answer'}
    </span>
  );
};

export const TagStateLegend: FC = () => (
  <details>
    <summary>Meanings of the states</summary>
    <dl>
      {Object.values(SHOWN).map(({ mark, word, meaning }) => (
        <div>
          <dt>
            <span aria-hidden="true">{mark}</span> {word}
          </dt>
          <dd>{meaning}</dd>
        </div>
      ))}
    </dl>
  </details>
);
