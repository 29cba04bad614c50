"""Chooses the shrinkage of a head, the weight of the levels and the temperature, by the loss of pictures that are held out."""

from dataclasses import dataclass

import numpy as np

from .blocks import Blocks
from .head import (
    average_by_class,
    compute_ridge,
    correct_small_classes,
    factorize,
    fit,
    invert_diagonal,
    is_uneven,
    scale_deviations,
    solve_factored,
)

# Candidates for the share of the identity in the covariance, and for the weight of the levels beside the last layer.
shrinkages = (0.01, 0.03, 0.1, 0.3, 0.6, 0.9)
level_weights = (0.0, 0.35, 1.0)
# Up to this many pictures in the smallest class, held-out loss is too noisy to choose by: fixed values are as accurate on average
# and lose less on photos.
few_pictures, few_pictures_shrinkage, few_pictures_level_weight = 5, 0.1, 0.35
# Shrinkages whose mean held-out loss is within this of the least are as good; the largest of them is the safest.
loss_tolerance = 0.005
# Temperatures are searched within a factor of exp(3) of the typical one.
log_temperatures = np.linspace(-3, 3, 49)
# The median gap between the two best logits should be about this after calibration (a probability of 0.95 against 0.05).
typical_gap = 3


@dataclass
class Choice:
    shrinkage: float
    level_weight: float
    temperature: float
    logits: np.ndarray
    """Held-out logits of the chosen candidate before the temperature, float64 [judged, classes]."""
    judged: np.ndarray
    """The rows that were held out, each once, ascending."""


def choose(blocks: Blocks, labels: np.ndarray, classes: int, folds: np.ndarray, rows: np.ndarray) -> Choice:
    """Chooses what has the least held-out loss, each candidate at its best temperature; all classes count the same.

    Time grows with the cube of the number of ``rows``, to which the choice is limited.

    Args:
        folds: int [N], of all pictures.
    """
    own, some = labels[rows], blocks.rows(rows)
    parts = split_folds(own, classes, folds[rows])
    if not parts:
        return choose_blindly(some, own, classes)
    judged = np.concatenate([held for _, held in parts])
    order = np.argsort(judged)
    judged = judged[order]
    few = np.bincount(own, minlength=classes).min() <= few_pictures
    candidates = (few_pictures_shrinkage,) if few else shrinkages
    weights = (few_pictures_level_weight,) if few else level_weights
    last_layer, levels = some.products(0), some.products(1)
    levels -= last_layer
    importance = weigh_classes(own[judged], classes)
    results = []
    for level_weight in weights:
        products = last_layer + level_weight**2 * levels
        logits = np.concatenate(
            [compute_held_out_logits(products, own, classes, *part, candidates) for part in parts], axis=1
        )[:, order]
        results.append([(*calibrate(each, own[judged], importance), each) for each in logits])
    best = min(range(len(weights)), key=lambda index: min(loss for _, loss, _ in results[index]))
    losses = np.array([loss for _, loss, _ in results[best]])
    chosen = int(np.flatnonzero(losses <= losses.min() + loss_tolerance).max())
    temperature, _, logits = results[best][chosen]
    return Choice(candidates[chosen], weights[best], temperature, logits, rows[judged])


def choose_blindly(blocks: Blocks, labels: np.ndarray, classes: int) -> Choice:
    """The choice where no picture can be judged, so that the head should be sure of nothing.

    With a typical gap of 1 between the two best logits it gives 0.73 against 0.27.
    """
    head = fit(blocks, labels, classes, few_pictures_shrinkage, few_pictures_level_weight)
    temperature = max(float(np.median(compute_gaps(head.logits(blocks.embeddings)))), 1e-6)
    nothing = np.zeros((0, classes)), np.zeros(0, dtype=int)
    return Choice(few_pictures_shrinkage, few_pictures_level_weight, temperature, *nothing)


def split_folds(labels: np.ndarray, classes: int, folds: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each fold the rows of the others, which are learned from, and its own, which are judged.

    It leaves out folds without which a class has no pictures: they cannot be judged.
    """
    parts = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in np.unique(folds)]
    return [(learned, judged) for learned, judged in parts if len(np.unique(labels[learned])) == classes]


def compute_held_out_logits(
    products: np.ndarray,
    labels: np.ndarray,
    classes: int,
    learned: np.ndarray,
    judged: np.ndarray,
    candidates: tuple[float, ...],
) -> np.ndarray:
    """float64 [candidates, judged, classes]: the logits that ``fit`` on rows ``learned`` gives rows ``judged``, by shrinkage.

    It computes from inner products alone (float64 [N, N]), so that folds, weights of the levels and shrinkages share their cost.
    """
    own = labels[learned]
    inner, cross = products[np.ix_(learned, learned)], products[np.ix_(judged, learned)]
    average = average_by_class(own, classes)
    scale = scale_deviations(own, classes)
    centre = average.mean(axis=0)
    centred = average - centre
    # Inner products of the judged pictures, and of the class means, with the pictures around the centre and around their class
    # means.
    judged_rows = cross - centre @ inner
    mean_rows = centred @ inner
    judged_deviations = (judged_rows - (judged_rows @ average.T)[:, own]) * scale
    mean_deviations = (mean_rows - (mean_rows @ average.T)[:, own]) * scale
    within = inner - (average @ inner)[own]
    within -= (within @ average.T)[:, own]
    within *= scale[:, None] * scale
    to_means, between = judged_rows @ centred.T, mean_rows @ centred.T
    logits = []
    for shrinkage in candidates:
        ridge = compute_ridge(shrinkage, np.trace(within), np.trace(between) / classes, classes)
        kept = 1 - shrinkage
        system = kept * within
        system[np.diag_indices_from(system)] += ridge
        factor = factorize(system)
        bias = np.zeros(classes)
        if is_uneven(own, classes):
            bias = correct_small_classes(invert_diagonal(factor), ridge, kept, own, classes)
        solved = kept * solve_factored(factor, mean_deviations.T)
        lengths = np.diag(between) - (mean_deviations * solved.T).sum(axis=1)
        logits.append((to_means - judged_deviations @ solved - lengths / 2) / ridge + bias)
    return np.array(logits)


def calibrate(logits: np.ndarray, labels: np.ndarray, importance: np.ndarray) -> tuple[float, float]:
    """@returns the best temperature of held-out logits [N, classes], and the mean loss there; ``importance`` [N] sums to 1.

    The prior (ln T - ln c)^2 counts like one picture; c is the temperature at which the typical gap between the two best logits
    is 3. Without the prior, few or easy pictures make the temperature vanish and the next mistake's loss explode.
    """
    centre = np.log(max(np.median(compute_gaps(logits)) / typical_gap, 1e-6))
    grid, truth = log_temperatures, logits[np.arange(len(labels)), labels]
    for _ in range(2):
        scaled = logits[None] / np.exp(centre + grid)[:, None, None]
        highest = scaled.max(axis=2, keepdims=True)
        logs = truth / np.exp(centre + grid)[:, None] - np.log(np.exp(scaled - highest).sum(axis=2)) - highest[:, :, 0]
        losses = -(logs * importance).sum(axis=1)
        best = int((losses + grid**2 / len(labels)).argmin())
        log_temperature, loss = centre + grid[best], losses[best]
        # The second pass searches between the neighbours of the first one's best.
        grid = grid[best] + np.linspace(-1, 1, 17) * (log_temperatures[1] - log_temperatures[0])
    return float(np.exp(log_temperature)), float(loss)


def compute_gaps(logits: np.ndarray) -> np.ndarray:
    """float64 [N]: how far the best logit is above the second best."""
    top = np.partition(logits, -2, axis=1)
    return top[:, -1] - top[:, -2]


def weigh_classes(labels: np.ndarray, classes: int) -> np.ndarray:
    """float64 [N]: weights that sum to 1, the same sum for each class that occurs."""
    count = np.bincount(labels, minlength=classes)
    return 1 / (count[labels] * (count > 0).sum())
