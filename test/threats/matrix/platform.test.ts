import { describePlatformMatrix } from './platform.ts';
import { AT_CENTRAL } from './repositories.ts';

describePlatformMatrix(AT_CENTRAL);
