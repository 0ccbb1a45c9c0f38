import { secureHeaders } from 'hono/secure-headers';

/**
 * Headers of every page. Scripts, styles and forms come from and go to the console's own origin; nothing is inline, and
 * no other page may embed it (CSP Level 3).
 */
export const securityHeaders = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'"],
    connectSrc: ["'self'"],
    formAction: ["'self'"],
    baseUri: ["'none'"],
    frameAncestors: ["'none'"],
  },
  // Without any referrer, browsers would send the origin `null` with a form (Fetch §3.1).
  referrerPolicy: 'same-origin',
  xFrameOptions: 'DENY',
  // The Worker itself adds it, only to answers over HTTPS, and without subdomains.
  strictTransportSecurity: false,
});
