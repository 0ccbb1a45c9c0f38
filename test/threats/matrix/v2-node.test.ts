import { AT_NODE } from './repositories.ts';
import { describeMatrix } from './v2.ts';

describeMatrix(AT_NODE, ['private', 'public', 'official']);
