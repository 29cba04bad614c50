"""Estimates a head's accuracy on pictures that it has not learned from, and chooses its strength and temperature.

Every picture is judged by a head that learned without it and without its near-duplicates: cross-validation over groups, so
that two frames of a burst never stand on both sides.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import stdtrit

from .familiarity import find_prototypes, measure_familiarity
from .head import fit, log_softmax, softmax, strengths

# Cosine of two embeddings above which two pictures count as one: the same one saved again, or the next frame of a burst.
# Measured on 1,225 photos with lite0 and lite2: other photos of the same kind of thing stay below 0.83 in 99 of 100, frames
# of a burst begin at 0.86; a crop of 5 % has 0.94, other light 0.95, a turn by 5 degrees 0.93, JPEG quality 40 0.97.
near_duplicate = 0.87
most_folds = 5
least_for_familiarity = 12
# Beyond these numbers of images one held-out fifth is precise enough, and a strength chosen on a part is as good.
cross_validated_images = 4000
strength_images = 400
# Of the learning curve: parts of the pictures that are learned from, and the most images that it is computed for.
curve_shares = (0.25, 0.5, 0.75)
curve_images = 600
# Shares of right answers that may become "I don't know": for want of confidence, and for want of familiarity, which catches more.
# Together at most 5 in 100 of the measured sets' right answers (README) were lost, on average over choices of pictures.
lost_to_doubt, lost_to_unfamiliar = 0.01, 0.035


@dataclass
class Evaluation:
    strength: float
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


def evaluate(embeddings: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> Evaluation:
    """Chooses the strength of the head's penalty and the temperature, and measures what is left to measure."""
    groups = group_near_duplicates(embeddings)
    embeddings = rotate(embeddings)
    folds = assign_folds(labels, groups, classes, seed)
    method = "cross-validation" if len(labels) <= cross_validated_images else "held-out"
    judged = np.unique(folds) if method == "cross-validation" else np.array([0])
    strength = choose_strength(embeddings, labels, classes, folds, seed)
    rows, logits = compute_held_out_logits(embeddings, labels, classes, folds, strength, judged)
    temperature = calibrate(logits, labels[rows])
    probabilities = softmax(logits / temperature)
    right = probabilities.argmax(axis=1) == labels[rows]
    accuracy = state_accuracy(right, groups[rows], method, len(np.unique(folds)))
    grown = measure_growth(embeddings, labels, classes, folds, strength, judged) if len(labels) <= curve_images else []
    grown.append({"images": round(len(labels) * (1 - 1 / accuracy["folds"])), "accuracy": accuracy["value"]})
    threshold = choose_unknown_threshold(probabilities, right)
    known = measure_held_out_familiarity(embeddings, labels, classes, folds, judged)
    unfamiliar = choose_familiarity_threshold(known, right)
    return Evaluation(strength, temperature, threshold, unfamiliar, rows, probabilities, accuracy, groups, grown)


def measure_held_out_familiarity(embeddings, labels, classes, folds, which) -> np.ndarray:
    """The familiarity of the rows that ``compute_held_out_logits`` gives, each with prototypes of the other folds."""
    parts = [
        measure_familiarity(
            embeddings[folds == fold], find_prototypes(embeddings[folds != fold], labels[folds != fold], classes)
        )
        for fold in which
    ]
    return np.concatenate(parts)


def choose_familiarity_threshold(known: np.ndarray, right: np.ndarray) -> float | None:
    """Familiarity that one more right answer falls short of with a chance of ``lost_to_unfamiliar``.

    The lowest of 20 pictures do not estimate the lowest few in 100, but their mean and spread do: the prediction interval of a
    normal distribution (Student's t), of Fisher's z of the cosines, which is nearly that.
    """
    own = np.arctanh(np.clip(known[right], -1, 1 - 1e-6))
    if len(own) < least_for_familiarity:
        return None
    deviations = stdtrit(len(own) - 1, lost_to_unfamiliar) * np.sqrt(1 + 1 / len(own))
    return float(np.tanh(own.mean() + deviations * own.std(ddof=1)))


def measure_growth(embeddings, labels, classes, folds, strength, judged) -> list[dict]:
    """Accuracy on the same held-out pictures after learning from a part of the others, the first of each class."""
    beyond = np.zeros(len(labels), dtype=bool)
    points = []
    for share in curve_shares:
        right, seen = [], []
        for fold in judged:
            held = folds == fold
            for label in range(classes):
                rows = np.flatnonzero(~held & (labels == label))
                beyond[rows] = np.arange(len(rows)) >= max(1, round(share * len(rows)))
            part = ~held & ~beyond
            head = fit(embeddings[part], labels[part], classes, strength)
            right.append(head.logits(embeddings[held]).argmax(axis=1) == labels[held])
            seen.append(int(part.sum()))
        point = {"images": round(float(np.mean(seen))), "accuracy": float(np.concatenate(right).mean())}
        if not points or point["images"] > points[-1]["images"]:
            points.append(point)
    return points


def state_accuracy(right: np.ndarray, groups: np.ndarray, method: str, folds: int) -> dict:
    """The report's accuracy of the judged pictures: whether the answer was right, and the near-duplicates' group of each."""
    value = float(right.mean())
    sizes = np.bincount(groups)
    # Copies of one picture are right or wrong together, so they count as one (Kish 1965, effective sample size); and heads of
    # overlapping folds are not independent: four fifths, the share that each learned from, is what made 95 % true here.
    low, high = compute_wilson_interval(value, 0.8 * sizes.sum() ** 2 / (sizes**2).sum())
    return {
        "value": value,
        "low": low,
        "high": high,
        "method": method,
        "folds": int(folds),
        "images": int(len(right)),
        "groups": int((sizes > 0).sum()),
    }


def choose_unknown_threshold(probabilities: np.ndarray, right: np.ndarray) -> float | None:
    """Confidence that ``lost_to_doubt`` of the right answers fall short of; None where they are too few to have such a share."""
    confident = probabilities.max(axis=1)[right]
    if len(confident) + 1 < 1 / lost_to_doubt:
        return None
    return float(np.quantile(confident, lost_to_doubt, method="weibull"))


def rotate(embeddings: np.ndarray) -> np.ndarray:
    """The same points in as few numbers as they need, [N, min(N, features)]: once here instead of in each of many fits."""
    if len(embeddings) >= embeddings.shape[1]:
        return embeddings
    left, sizes, _ = np.linalg.svd(embeddings, full_matrices=False)
    return left * sizes


def group_near_duplicates(embeddings: np.ndarray) -> np.ndarray:
    """A group for each picture: those that are alike, directly or through others, share one. int [N]"""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    pairs: list[np.ndarray] = []
    for start in range(0, len(unit), 1000):
        rows, columns = np.nonzero(unit[start : start + 1000] @ unit.T > near_duplicate)
        pairs.append(np.stack([rows + start, columns]))
    rows, columns = np.concatenate(pairs, axis=1)
    alike = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(unit), len(unit)))
    return connected_components(alike, directed=False)[1]


def assign_folds(labels: np.ndarray, groups: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """The fold of each picture: whole groups, each class spread evenly. int [N]

    A class that is one group (a single burst) is split all the same, for else it could not be judged at all; that it is
    one group shows in the interval.
    """
    shuffled = np.random.default_rng(seed)
    members: list[list[np.ndarray]] = []
    for label in range(classes):
        rows = np.flatnonzero(labels == label)
        own = [rows[groups[rows] == group] for group in np.unique(groups[rows])]
        own = own if len(own) > 1 else list(rows[:, None])
        shuffled.shuffle(own)
        members.append(sorted(own, key=len, reverse=True))
    # A class of two pictures is in two of the folds; the others may have more.
    count = min(most_folds, max(map(len, members)))
    folds = np.zeros(len(labels), dtype=int)
    for own in members:
        sizes = np.zeros(count)
        for rows in own:
            fold = int(sizes.argmin())
            folds[rows] = fold
            sizes[fold] += len(rows)
    return folds


def compute_held_out_logits(embeddings, labels, classes, folds, strength, which) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the folds ``which`` and their logits [rows, classes], each by a head of the other folds."""
    rows, logits = [np.zeros(0, dtype=int)], [np.zeros((0, classes))]
    for fold in which:
        held = folds == fold
        head = fit(embeddings[~held], labels[~held], classes, strength)
        rows.append(np.flatnonzero(held))
        logits.append(head.logits(embeddings[held]))
    return np.concatenate(rows), np.concatenate(logits)


def choose_strength(embeddings, labels, classes, folds, seed) -> float:
    """The strength with the least held-out loss, on a part of the pictures where there are many."""
    part = np.random.default_rng(seed).permutation(len(labels))[:strength_images]
    some = embeddings[part], labels[part], classes, folds[part]

    def loss(strength: float) -> float:
        rows, logits = compute_held_out_logits(*some, strength, np.unique(some[3]))
        # Each strength is judged at its own best temperature: overconfidence is corrected later, mistakes are not.
        temperature = calibrate(logits, some[1][rows])
        return -log_softmax(logits / temperature)[np.arange(len(rows)), some[1][rows]].mean()

    losses = [loss(strength) for strength in strengths]
    # Among strengths that are all but equal the strongest generalises better.
    return max(strength for strength, value in zip(strengths, losses, strict=True) if value <= min(losses) + 0.005)


def calibrate(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least held-out loss; few pictures that are all right move it little."""

    def loss(log_temperature: float) -> float:
        logs = log_softmax(logits / np.exp(log_temperature))
        return -logs[np.arange(len(labels)), labels].sum() + log_temperature**2

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


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
