import { describePlatformMatrix } from './platform.ts';
import { AFAR } from './repositories.ts';

describePlatformMatrix(AFAR);
