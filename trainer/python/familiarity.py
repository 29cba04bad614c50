"""How much a picture is like those that were learned: what a confident answer alone does not tell.

A classifier between two classes is as sure of a third thing as of either. The cosine between a picture's embedding and the
nearest of some typical ones does tell (after Sun et al. 2022, nearest neighbours for what is out of distribution). Typical
ones are means of several pictures, not pictures: they are small, and no picture's own embedding goes into a file.
"""

import numpy as np

# For each class: at most so many, each the mean of about so many pictures or more.
most_prototypes = 12
pictures_of_each = 3
rounds = 8


def unit(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)


def find_prototypes(embeddings: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """float64 [P, features], each of length 1: spherical k-means within each class, begun with what lies farthest apart."""
    return np.concatenate([cluster(unit(embeddings[labels == one])) for one in range(classes)])


def cluster(points: np.ndarray) -> np.ndarray:
    if len(points) == 0:
        return points
    count = min(most_prototypes, max(1, len(points) // pictures_of_each))
    centres = unit(points.mean(axis=0, keepdims=True))
    while len(centres) < count:
        farthest = (points @ centres.T).max(axis=1).argmin()
        centres = np.concatenate([centres, points[farthest : farthest + 1]])
    for _ in range(rounds):
        nearest = (points @ centres.T).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        # One that is nobody's nearest, or one picture's own, tells nothing but that picture.
        members = np.bincount(nearest, minlength=len(centres))
        kept = members >= min(2, len(points))
        centres = unit(sums[kept])
    return centres


def familiarity(embeddings: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """float64 [N], at most 1: the cosine to the nearest."""
    return (unit(embeddings) @ prototypes.T).max(axis=1)
