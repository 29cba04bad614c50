"""Where in a picture a model finds its evidence, and what that says about backgrounds.

The features of most convolutional networks begin with the mean of a feature map, of which softsign and unit length are taken
(networks.py). The evidence of a cell of that map is its activation times the gradient of the log odds through these three steps
(Selvaraju et al. 2017, Grad-CAM; without its averages over cells, for the gradient is the same at every cell). This is exact for
the last layer's part of the features; what the levels add is not in it. Networks without such a map have no heatmaps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import facts
from .backbone import Backbone, softsign
from .decode import open_picture
from .head import Head, softmax

# The highest number in a heatmap.
brightest = facts.thresholds["brightestCell"]
# Heatmaps of a class that together say something about its background.
least_maps = 3

FeatureMap = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Pixels [H, W, 3] -> features [features] and feature map [channels, rows, columns] (networks.py)."""


@dataclass
class Heatmap:
    """The evidence for an image's own class, cell by cell."""

    image: str
    """Its id."""
    label: int
    evidence: np.ndarray
    """float64 [rows, columns]"""

    @property
    def cells(self) -> list[list[int]]:
        """The evidence for its class, from 0 to ``brightest``, for the page to draw."""
        positive = np.maximum(self.evidence, 0)
        return np.rint(brightest * positive / max(positive.max(), 1e-12)).astype(int).tolist()

    @property
    def edge_share(self) -> float:
        """How much of the evidence for its class is at the picture's edge, by the edge's area: 1 where it is spread evenly.

        Measured with 25 pictures a class, four of them with a heatmap (5 to 95 in 100): 0.25 to 0.62 on photos of pets, 0.01 to
        0.32 on drawn things in the middle of mixed patterns, 1.16 to 1.61 where each class has a pattern of its own around mixed
        things. It is no proof: small things at any place before mixed scenes had 0.31 to 1.08, for some are at the edge.
        """
        edge = np.ones_like(self.evidence, dtype=bool)
        edge[1:-1, 1:-1] = False
        positive = np.maximum(self.evidence, 0)
        return float(positive[edge].sum() / max(positive.sum(), 1e-12) / edge.mean())


def make_heatmap(
    image: str, label: int, thumbnail: Path, head: Head, backbone: Backbone, feature_map: FeatureMap
) -> Heatmap:
    features, places = feature_map(open_picture(thumbnail).pixels)
    return Heatmap(image, label, compute_evidence(label, head, backbone, features, places))


def compute_evidence(
    label: int, head: Head, backbone: Backbone, features: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """The evidence for class ``label`` and against the others, cell by cell: float64 [rows, columns].

    With two classes its mean is by how much the log odds grow per growth of the feature map; with more classes, the others count
    by their probability.

    Args:
        features: float [features]
        places: the feature map, float [channels, rows, columns].
    """
    others = head.logits(features[None].astype(np.float64))
    others[0, label] = -np.inf
    direction = (head.weight[label] - softmax(others)[0] @ head.weight)[~backbone.is_level]
    means = places.mean(axis=(1, 2), dtype=np.float64)
    ends = np.cumsum([part.last_layer for part in backbone.parts])[:-1]
    gradients = [differentiate(*both) for both in zip(np.split(direction, ends), np.split(means, ends), strict=True)]
    return np.tensordot(np.concatenate(gradients), places, axes=1)


def differentiate(direction: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The gradient of ``direction`` times the softsign of ``means`` at unit length, by ``means``; all float64 [channels]."""
    soft = means / (softsign + np.abs(means))
    length = max(float(np.linalg.norm(soft)), 1e-12)
    unit = soft / length
    return (direction - (direction @ unit) * unit) / length * softsign / (softsign + np.abs(means)) ** 2


def average_edge_shares(heatmaps: list[Heatmap], classes: int) -> list[float | None]:
    """The mean ``edge_share`` of each class; None for a class with too few heatmaps."""
    shares: list[list[float]] = [[] for _ in range(classes)]
    for heatmap in heatmaps:
        shares[heatmap.label].append(heatmap.edge_share)
    return [float(np.mean(own)) if len(own) >= least_maps else None for own in shares]
