"""Embeddings as two blocks of features, which a head weighs against each other: last layers, and levels (networks.py)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Blocks:
    embeddings: np.ndarray
    """float [N, features]: the last layer and each level of each network have length 1."""
    is_level: np.ndarray
    """bool [features]: whether a feature comes from a level and not from a last layer."""

    def rows(self, rows: np.ndarray) -> "Blocks":
        return Blocks(self.embeddings[rows], self.is_level)

    @property
    def last_layer(self) -> np.ndarray:
        """float [N, features of last layers]"""
        return self.embeddings[:, ~self.is_level]

    def factors(self, level_weight: float) -> np.ndarray:
        """float64 [features]: what a head with this weight of the levels multiplies each feature by."""
        return np.where(self.is_level, level_weight, 1.0)

    def weighted(self, level_weight: float) -> np.ndarray:
        """float64 [N, features]"""
        return self.embeddings * self.factors(level_weight)

    def products(self, level_weight: float) -> np.ndarray:
        """float64 [N, N]: the inner products of the weighted features of all pictures."""
        features = self.weighted(level_weight)
        return features @ features.T


def unit(vectors: np.ndarray) -> np.ndarray:
    """The same directions with length 1; vectors of zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
