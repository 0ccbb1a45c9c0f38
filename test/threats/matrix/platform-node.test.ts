import { describePlatformMatrix } from './platform.ts';
import { AT_NODE } from './repositories.ts';

describePlatformMatrix(AT_NODE);
