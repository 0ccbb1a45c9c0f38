import { AT_CENTRAL } from './repositories.ts';
import { describeMatrix } from './v2.ts';

describeMatrix(AT_CENTRAL, ['private']);
