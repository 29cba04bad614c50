"""How similar a picture is to those that were learned from, which the confidence of an answer does not measure.

A classifier between two classes is as sure of a third thing as of either. The cosine between a picture's features, as the head
weighs them, and the nearest prototype does measure it (after Sun et al. 2022, nearest neighbours for out-of-distribution
detection). The last layer alone would need half of the bytes, but it catches 9 in 100 fewer of the strangers among photos of cats
and dogs (1 in 100 on average over 10 sets). Prototypes are means of several pictures, not pictures: they are small, and no
picture's own features go into a file.
"""

import numpy as np

from .blocks import Blocks, unit

# Prototypes of a class at most; fewer where features are many, so that a class takes at most 65 KB: its weights as float32 and
# its prototypes as int8. Each is the mean of about ``pictures_of_each`` pictures, or more.
most_prototypes, class_bytes = 12, 65_000
pictures_of_each = 3
rounds = 8


def find_prototypes(blocks: Blocks, labels: np.ndarray, classes: int, level_weight: float) -> np.ndarray:
    """float64 [P, features]: spherical k-means within each class, from the points farthest apart.

    The product of a prototype and an embedding is the cosine of their weighted features: the weight of the levels is folded into
    prototypes, and so is the length of weighted features, which is the same for all pictures, because each block has length 1.
    """
    features = blocks.weighted(level_weight)
    length = max(float(np.linalg.norm(features, axis=1).mean()), 1e-12)
    directions = np.concatenate([cluster(unit(features[labels == label])) for label in range(classes)])
    return directions * blocks.factors(level_weight) / length


def cluster(points: np.ndarray) -> np.ndarray:
    if len(points) == 0:
        return points
    room = class_bytes // points.shape[1] - 4
    count = min(most_prototypes, max(1, room), max(1, len(points) // pictures_of_each))
    centres = unit(points.mean(axis=0, keepdims=True))
    while len(centres) < count:
        farthest = (points @ centres.T).max(axis=1).argmin()
        centres = np.concatenate([centres, points[farthest : farthest + 1]])
    for _ in range(rounds):
        nearest = (points @ centres.T).argmax(axis=1)
        member = nearest == np.arange(len(centres))[:, None]
        # A centre of a single picture would be that picture's features; a centre of none is nothing.
        kept = member.sum(axis=1) >= min(2, len(points))
        centres = unit(member[kept].astype(np.float64) @ points)
    return centres


def measure_familiarity(embeddings: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """float64 [N], at most 1: the cosine to the nearest prototype."""
    return (embeddings @ prototypes.T).max(axis=1)
