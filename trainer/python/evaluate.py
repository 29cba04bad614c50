"""Estimates a head's accuracy on pictures that it has not learned from, and chooses what the head needs.

Every picture is judged by a head that learned without it and without its near-duplicates: cross-validation over groups, so that
two frames of a burst never stand on both sides.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from .blocks import Blocks
from .choice import Choice, calibrate, choose, compute_held_out_logits, split_folds, weigh_classes
from .familiarity import find_prototypes, measure_familiarity
from .head import fit, softmax
from .splits import assign_folds, group_near_duplicates, most_folds, sample_rows

# Beyond this number of images one held-out fifth is precise enough.
cross_validated_images = 2000
# A choice on so many images, or on so many of each class where that is more, is as good as one on all.
choice_images, choice_images_of_class = 400, 8
# The learning curve learns from these parts of the pictures; it is computed for at most so many images.
curve_shares = (0.25, 0.5, 0.75)
curve_images = 600
# Judged pictures count as this share of independent ones: heads of overlapping folds are not independent, and a few pictures
# decide much. With 0.8 and no growth the interval held in 89 of 100 projects from 10 pictures a class on (190 projects, 10 sets),
# with these numbers in 97.
independent_share = 0.5
# The error falls by 15 to 20 % with twice the pictures (10 sets, 2 to 100 a class), so that the final head, which learns from all
# pictures, is a little better than the heads of the folds.
error_exponent = 0.3
# Shares of right answers that may become "I don't know": for want of confidence, and for want of familiarity, which catches more.
lost_to_doubt, lost_to_unfamiliar = 0.01, 0.035
least_for_familiarity = 12


@dataclass
class Evaluation:
    shrinkage: float
    level_weight: float
    temperature: float
    unknown_below: float | None
    """Confidence under which the answer is "I don't know"; None where too few images were held out to choose it."""
    unfamiliar_below: float | None
    """Familiarity (familiarity.py) under which the answer is that too."""
    held_out: np.ndarray
    """The rows that were judged."""
    probabilities: np.ndarray
    """Calibrated, [held out, classes]."""
    accuracy: dict
    """As in the report."""
    groups: np.ndarray
    """int [N], of all pictures: near-duplicates share a number."""
    curve: list[dict]
    """As in the report: how accuracy grew with the pictures that were learned from."""


def evaluate(blocks: Blocks, labels: np.ndarray, classes: int, seed: int, bursts: np.ndarray) -> Evaluation:
    """Chooses shrinkage, weight of the levels, temperature and thresholds, and measures what is left to measure.

    Args:
        bursts: int [N]; negative where a picture belongs to none.
    """
    groups = group_near_duplicates(blocks.last_layer, labels, bursts)
    folds = assign_folds(labels, groups, classes, seed)
    choice = judge(blocks, labels, classes, folds, seed)
    rows = choice.judged
    probabilities = softmax(choice.logits / choice.temperature)
    right = probabilities.argmax(axis=1) == labels[rows]
    method = "cross-validation" if len(labels) <= cross_validated_images else "held-out"
    share = measure_learned_share(labels, folds, rows)
    accuracy = state_accuracy(right, groups[rows], share, method, len(np.unique(folds)))
    curve = measure_growth(blocks, labels, classes, folds, choice) if len(labels) <= curve_images else []
    learned = round(float(np.mean([(folds != fold).sum() for fold in np.unique(folds[rows])])))
    curve.append({"images": learned, "accuracy": accuracy["value"]})
    known = measure_held_out_familiarity(blocks, labels, classes, folds, choice)
    return Evaluation(
        choice.shrinkage,
        choice.level_weight,
        choice.temperature,
        choose_unknown_threshold(probabilities, right),
        choose_familiarity_threshold(known, right),
        rows,
        probabilities,
        accuracy,
        groups,
        curve,
    )


def judge(blocks: Blocks, labels: np.ndarray, classes: int, folds: np.ndarray, seed: int) -> Choice:
    """The choice, with held-out logits of all judged pictures and the temperature that these give."""
    rows = sample_to_choose(labels, classes, seed)
    choice = choose(blocks, labels, classes, folds, rows)
    if len(rows) == len(labels):
        return choice
    if len(labels) <= cross_validated_images:
        products = blocks.products(choice.level_weight)
        parts = split_folds(labels, classes, folds)
        logits = [compute_held_out_logits(products, labels, classes, *part, (choice.shrinkage,))[0] for part in parts]
        judged = np.concatenate([held for _, held in parts])
        order = np.argsort(judged)
        return recalibrate(choice, judged[order], np.concatenate(logits)[order], labels, classes)
    # A class whose pictures are all in the held-out fold is learned from instead.
    held = (folds == 0) & np.isin(labels, labels[folds != 0])
    judged = np.flatnonzero(held)
    head = fit(blocks.rows(~held), labels[~held], classes, choice.shrinkage, choice.level_weight)
    return recalibrate(choice, judged, head.logits(blocks.embeddings[judged]), labels, classes)


def sample_to_choose(labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """The rows on which a head is chosen; all where there are few."""
    return sample_rows(labels, max(choice_images, choice_images_of_class * classes), seed)


def recalibrate(choice: Choice, judged: np.ndarray, logits: np.ndarray, labels: np.ndarray, classes: int) -> Choice:
    """The choice with a temperature from all judged pictures instead of a part of them."""
    temperature, _ = calibrate(logits, labels[judged], weigh_classes(labels[judged], classes))
    return Choice(choice.shrinkage, choice.level_weight, temperature, logits, judged)


def measure_learned_share(labels: np.ndarray, folds: np.ndarray, judged: np.ndarray) -> float:
    """The share of its class's pictures that the head which judged a picture learned from, on average."""
    held = np.zeros((folds.max() + 1, labels.max() + 1))
    np.add.at(held, (folds, labels), 1)
    return float((1 - held[folds[judged], labels[judged]] / np.bincount(labels)[labels[judged]]).mean())


def measure_growth(blocks: Blocks, labels: np.ndarray, classes: int, folds: np.ndarray, choice: Choice) -> list[dict]:
    """Accuracy on the same held-out pictures after learning from a part of the others, the first of each class."""
    products = blocks.products(choice.level_weight)
    parts = split_folds(labels, classes, folds)
    points = []
    for share in curve_shares:
        right, seen = [], []
        for learned, judged in parts:
            members = [learned[labels[learned] == label] for label in range(classes)]
            part = np.concatenate([own[: max(1, round(share * len(own)))] for own in members])
            [logits] = compute_held_out_logits(products, labels, classes, part, judged, (choice.shrinkage,))
            right.append(logits.argmax(axis=1) == labels[judged])
            seen.append(len(part))
        point = {"images": round(float(np.mean(seen))), "accuracy": float(np.concatenate(right).mean())}
        if not points or point["images"] > points[-1]["images"]:
            points.append(point)
    return points


def measure_held_out_familiarity(
    blocks: Blocks, labels: np.ndarray, classes: int, folds: np.ndarray, choice: Choice
) -> np.ndarray:
    """float64 [judged]: the familiarity of each judged picture with prototypes that did not see it or its near-duplicates."""
    known = np.zeros(len(labels))
    # Where single groups are left out, several at a time are enough for this.
    folds = folds % most_folds
    for fold in np.unique(folds[choice.judged]):
        held = folds == fold
        prototypes = find_prototypes(blocks.rows(~held), labels[~held], classes, choice.level_weight)
        known[held] = measure_familiarity(blocks.embeddings[held], prototypes)
    return known[choice.judged]


def choose_familiarity_threshold(known: np.ndarray, right: np.ndarray) -> float | None:
    """Familiarity that one more right answer falls short of with a chance of ``lost_to_unfamiliar``.

    The lowest of 20 pictures do not estimate the lowest few in 100, but their mean and spread do: the prediction interval of a
    normal distribution (Student's t), of Fisher's z of the cosines, which is nearly that.
    """
    own = np.arctanh(np.clip(known[right], -1 + 1e-6, 1 - 1e-6))
    if len(own) < least_for_familiarity:
        return None
    deviations = stdtrit(len(own) - 1, lost_to_unfamiliar) * np.sqrt(1 + 1 / len(own))
    return float(np.tanh(own.mean() + deviations * own.std(ddof=1)))


def choose_unknown_threshold(probabilities: np.ndarray, right: np.ndarray) -> float | None:
    """Confidence that ``lost_to_doubt`` of the right answers fall short of; None where they are too few to have such a share."""
    confident = probabilities.max(axis=1)[right]
    if len(confident) + 1 < 1 / lost_to_doubt:
        return None
    return float(np.quantile(confident, lost_to_doubt, method="weibull"))


def state_accuracy(right: np.ndarray, groups: np.ndarray, learned_share: float, method: str, folds: int) -> dict:
    """The report's accuracy of the judged pictures (at least one).

    Pictures of one group are right or wrong together, so they count as one (Kish 1965, effective sample size).

    Args:
        right: bool [judged], whether the answer was right.
        groups: int [judged], the near-duplicates' group of each.
        learned_share: the share of the pictures that the judging heads learned from.
    """
    value = float(right.mean())
    sizes = np.bincount(groups)
    low, high = compute_wilson_interval(value, independent_share * sizes.sum() ** 2 / (sizes**2).sum())
    return {
        "value": value,
        "low": low,
        "high": 1 - (1 - high) * learned_share**error_exponent,
        "method": method,
        "folds": int(folds),
        "images": int(len(right)),
        "groups": int((sizes > 0).sum()),
    }


def compute_wilson_interval(share: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a share of ``count`` (Wilson 1927), which also holds for few pictures and for all right."""
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    # Exact at the ends, which rounding would miss.
    return 0.0 if share == 0 else float(middle - half), 1.0 if share == 1 else float(middle + half)


def count_confusion(labels: np.ndarray, answers: np.ndarray, classes: int) -> list[list[int]]:
    """Counts pictures: rows are their class, columns the answer."""
    matrix = np.zeros((classes, classes), dtype=int)
    np.add.at(matrix, (labels, answers), 1)
    return matrix.tolist()
