import { AFAR } from './repositories.ts';
import { describeMatrix } from './v2.ts';

describeMatrix(AFAR, ['private', 'public', 'official']);
