"""How similar a picture is to those that were learned from, which the confidence of an answer does not measure.

A classifier between two classes is as sure of a third thing as of either. The cosine between a picture's embedding and the
nearest prototype does measure it (after Sun et al. 2022, nearest neighbours for out-of-distribution detection). Prototypes are
means of several pictures, not pictures: they are small, and no picture's own embedding goes into a file.
"""

import numpy as np

# Prototypes of a class at most, and the pictures that each is the mean of, or more.
most_prototypes = 12
pictures_of_each = 3
rounds = 8


def unit(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)


def find_prototypes(embeddings: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """float64 [P, features], each of length 1: spherical k-means within each class, from the points farthest apart."""
    return np.concatenate([cluster(unit(embeddings[labels == label])) for label in range(classes)])


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
        # A centre of a single picture would be that picture's embedding; a centre of none is nothing.
        members = np.bincount(nearest, minlength=len(centres))
        kept = members >= min(2, len(points))
        centres = unit(sums[kept])
    return centres


def measure_familiarity(embeddings: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """float64 [N], at most 1: the cosine to the nearest prototype."""
    return (unit(embeddings) @ prototypes.T).max(axis=1)
