/** Facts of functions/shared that the page shows or acts on. */
import artifacts from '#shared/artifacts.json' with { type: 'json' };
import images from '#shared/images.json' with { type: 'json' };

export type ArtifactName = keyof typeof artifacts;
/** The learner sees the artifacts in this order. */
export const artifactNames = Object.keys(artifacts) as ArtifactName[];

/** The MIME types that the studio accepts. */
export const imageTypes = Object.keys(images.types);
/** The names that people know these types by. */
export const imageTypeNames = Object.values(images.types).map(({ name }) => name);

export const mostImageBytes = images.bytes;
export const mostImageMegabytes = images.bytes / 1e6;
/** Pixels that are left of a picture's longer side when it is sent. */
export const { longestSide } = images;
