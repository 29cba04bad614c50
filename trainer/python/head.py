"""The head: a linear discriminant with a shrunk covariance; deterministic, in numpy and scipy.

All classes count the same, however many pictures they have: the prior is uniform, the centre is the mean of the class means, and
the covariance is the mean of the classes' covariances.

Sources: Friedman 1989, "Regularized discriminant analysis" (shrinkage towards a multiple of the identity); Guo et al. 2017, "On
calibration of modern neural networks" (temperature).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from .blocks import Blocks

# The identity is scaled by the trace of the covariance over this number, about the directions in which pictures of one class
# differ.
effective_dimensions = 50
# Pictures whose deviations are in memory at once, where there are more pictures than features.
block_rows = 1000


@dataclass
class Head:
    weight: np.ndarray
    """float64 [classes, features], for embeddings as they are: the weight of the levels is folded in."""
    bias: np.ndarray
    """float64 [classes]"""

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        return embeddings @ self.weight.T + self.bias

    def cooled(self, temperature: float) -> "Head":
        """The same answers with calibrated probabilities."""
        return Head(self.weight / temperature, self.bias / temperature)


def fit(blocks: Blocks, labels: np.ndarray, classes: int, shrinkage: float, level_weight: float) -> Head:
    """The discriminant of embeddings with labels [N] from 0; every class needs one picture.

    W = M S^-1 and b = -1/2 diag(M S^-1 M') with M the class means around their mean, and S = (1 - l) S_within + l
    tr(S_within)/50 I. With fewer pictures than features, Woodbury's identity needs an N x N system instead of D x D.
    """
    features = blocks.weighted(level_weight)
    means = average_by_class(labels, classes) @ features
    centre = means.mean(axis=0)
    solve = solve_by_pictures if len(features) < features.shape[1] else solve_by_features
    weight, bias = solve(features, means, labels, classes, shrinkage)
    bias = bias - (weight * (means - centre)).sum(axis=1) / 2 - weight @ centre
    return Head(weight * blocks.factors(level_weight), bias)


def solve_by_pictures(
    features: np.ndarray, means: np.ndarray, labels: np.ndarray, classes: int, shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
    """@returns W [classes, features] and the bias that small classes are owed [classes], by an N x N system."""
    deviations = (features - means[labels]) * scale_deviations(labels, classes)[:, None]
    centred = means - means.mean(axis=0)
    factor, ridge, kept = shrink(deviations @ deviations.T, centred, shrinkage)
    bias = np.zeros(classes)
    if is_uneven(labels, classes):
        bias = correct_small_classes(invert_diagonal(factor), ridge, kept, labels, classes)
    return (centred - kept * solve_factored(factor, deviations @ centred.T).T @ deviations) / ridge, bias


def solve_by_features(
    features: np.ndarray, means: np.ndarray, labels: np.ndarray, classes: int, shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
    """As ``solve_by_pictures``, by a D x D system; deviations are computed in blocks of rows, so that memory stays small."""

    def deviations() -> Iterator[np.ndarray]:
        scale = scale_deviations(labels, classes)[:, None]
        for start in range(0, len(features), block_rows):
            rows = slice(start, start + block_rows)
            yield (features[rows] - means[labels[rows]]) * scale[rows]

    centred = means - means.mean(axis=0)
    factor, ridge, kept = shrink(sum(some.T @ some for some in deviations()), centred, shrinkage)
    bias = np.zeros(classes)
    if is_uneven(labels, classes):
        within = [np.einsum("nd,dn->n", some, solve_factored(factor, some.T)) for some in deviations()]
        bias = correct_small_classes((1 - kept * np.concatenate(within)) / ridge, ridge, kept, labels, classes)
    return solve_factored(factor, centred.T).T, bias


def shrink(system: np.ndarray, centred: np.ndarray, shrinkage: float) -> tuple[np.ndarray, float, float]:
    """Shrinks a matrix of squared deviations, which it overwrites, towards a multiple of the identity.

    @returns the factor of kept * system + ridge * I, the ridge, and ``kept``. ``centred`` has the means of the classes.
    """
    classes = len(centred)
    ridge = compute_ridge(shrinkage, np.trace(system), (centred**2).sum() / classes, classes)
    kept = 1 - shrinkage
    system *= kept
    system[np.diag_indices_from(system)] += ridge
    return factorize(system), ridge, kept


def correct_small_classes(
    inverse: np.ndarray, ridge: float, kept: float, labels: np.ndarray, classes: int
) -> np.ndarray:
    """float64 [classes]: the bias that a class of few pictures is owed, because its mean is noisy and seems longer than it is.

    E(m S^-1 m') exceeds the true one by tr(S^-1 Sigma)/n for a class of n pictures; without this correction a class of 5 beside
    classes of 50 is hardly ever the answer. The trace is estimated by leaving each picture out: with e the diagonal of Z S^-1 Z'
    for the scaled deviations Z, it is the sum of e / (1 - kept e). ``inverse`` has the diagonal of (kept Z Z' + ridge I)^-1 =
    (1 - kept e) / ridge.
    """
    count = np.bincount(labels, minlength=classes)
    remaining = np.clip(ridge * inverse, 1e-6, 1)
    trace = ((1 - remaining) / remaining).sum() / kept
    share = 1 / np.maximum(count, 1)
    return trace / 2 * (share - share.mean())


def is_uneven(labels: np.ndarray, classes: int) -> bool:
    """Whether classes differ in their number of pictures; where they do not, the corrections of all classes cancel."""
    count = np.bincount(labels, minlength=classes)
    return bool((count != count[0]).any())


def average_by_class(labels: np.ndarray, classes: int) -> np.ndarray:
    """float64 [classes, N]: the matrix that averages the rows of each class."""
    member = (labels == np.arange(classes)[:, None]).astype(np.float64)
    return member / np.maximum(member.sum(axis=1, keepdims=True), 1)


def scale_deviations(labels: np.ndarray, classes: int) -> np.ndarray:
    """float64 [N]: roots of the weights that make the mean of the classes' unbiased covariances from deviations.

    A class with one picture says nothing about spread and counts 0. Unbiased, because the temperature is measured on heads that
    learned from fewer pictures than the final one, and the scale of their logits has to be the same.
    """
    count = np.bincount(labels, minlength=classes)
    return np.where(count > 1, 1 / np.sqrt(np.maximum(count - 1, 1) * max((count > 1).sum(), 1)), 0.0)[labels]


def compute_ridge(shrinkage: float, within: float, between: float, classes: int) -> float:
    """The identity's factor, from the trace within classes and the mean squared distance of the class means from their centre.

    With one picture in each class nothing differs within a class. Two pictures of different classes differ about as much as two
    of one class then, so the distances between classes give the scale. The small floor is for classes of identical copies.
    """
    if within == 0:
        within = between * classes / max(classes - 1, 1)
    return shrinkage * max(within, 1e-3 * between, 1e-12) / effective_dimensions


def factorize(matrix: np.ndarray) -> np.ndarray:
    """The lower Cholesky factor of a symmetric positive definite matrix, which it may overwrite."""
    return cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)


def solve_factored(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    return cho_solve((factor, True), right, check_finite=False)


def invert_diagonal(factor: np.ndarray) -> np.ndarray:
    """The diagonal of the inverse of the matrix with this Cholesky factor."""
    half = solve_triangular(factor, np.eye(len(factor)), lower=True, overwrite_b=True, check_finite=False)
    return (half**2).sum(axis=0)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(logits))
