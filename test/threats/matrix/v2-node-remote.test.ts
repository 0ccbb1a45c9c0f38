import { REMOTE } from './repositories.ts';
import { describeMatrix } from './v2.ts';

describeMatrix(REMOTE, ['private', 'public', 'official']);
