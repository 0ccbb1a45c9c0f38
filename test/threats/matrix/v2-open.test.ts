import { REPOSITORIES } from './repositories.ts';
import { describeMatrix } from './v2.ts';

describeMatrix(REPOSITORIES.filter(({ visibility }) => visibility !== 'private'));
