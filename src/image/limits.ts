// How much of a picture is taken in, wherever it comes from.

/** Phones and cameras stay below it. */
export const MAX_PICTURE_BYTES = 20 * 1024 * 1024
