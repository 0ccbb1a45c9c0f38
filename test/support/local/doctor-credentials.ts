/** The credentials of a local registry's users, as the doctor takes them. */
export const ORGANIZATION = { BERTH_ORGANIZATION_USER: 'alice', BERTH_ORGANIZATION_PASSWORD: 'alice-dev' };
export const ADMINISTRATOR = { BERTH_USER: 'admin', BERTH_PASSWORD: 'admin-dev' };
export const BOTH = { ...ORGANIZATION, ...ADMINISTRATOR };
