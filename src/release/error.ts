/** A release that cannot be made; the message says why. */
export class ReleaseError extends Error {}
