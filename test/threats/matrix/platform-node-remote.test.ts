import { describePlatformMatrix } from './platform.ts';
import { REMOTE } from './repositories.ts';

describePlatformMatrix(REMOTE);
