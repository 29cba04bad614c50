"""What a report says of pictures that were held out (its schema: train.py)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .evaluate import Evaluation, confusion

most_suspects = 20
# Held-out probability of its own class under which a picture is worth a second look.
suspect_below = 0.2
# And under which it is among the hard ones.
hard_below = 0.6
most_groups, most_named = 20, 20
# Of a class: fewer pictures that differ from each other teach little.
few_pictures = 10
good_accuracy = 0.95
# How much of what speaks for a class may be at the edge of its pictures (heatmap.py), if it is told apart at all.
background_above, told_apart = 0.65, 0.7
# Gain of the last quarter of the pictures that says that more will help.
still_rises = 0.02


def describe(
    evaluation: Evaluation, classes: list[str], labels: np.ndarray, ids: list[str], backgrounds: list[float | None]
) -> dict[str, Any]:
    """What the report says of the held-out pictures, and of each class."""
    rows, probabilities = evaluation.held_out, evaluation.probabilities
    said = probabilities.argmax(axis=1)
    own = probabilities[np.arange(len(rows)), labels[rows]]

    def accuracy_of(one: int) -> float | None:
        judged = labels[rows] == one
        return float((said[judged] == one).mean()) if judged.any() else None

    order = np.argsort(own)
    suspects = [index for index in order[:most_suspects] if own[index] < suspect_below]
    hardest = [index for index in order[:most_suspects] if own[index] < hard_below]
    sizes = np.bincount(evaluation.groups)
    alike = [group for group in np.argsort(-sizes, kind="stable")[:most_groups] if sizes[group] > 1]

    def named(index: int) -> dict[str, Any]:
        return {"image": ids[rows[index]], "class": classes[labels[rows[index]]], "said": classes[said[index]]}

    told = {
        "classes": [
            {
                "name": name,
                "images": int((labels == one).sum()),
                "accuracy": accuracy_of(one),
                "background": backgrounds[one],
            }
            for one, name in enumerate(classes)
        ],
        "accuracy": evaluation.accuracy,
        "confusion": confusion(labels[rows], said, len(classes)),
        "temperature": evaluation.temperature,
        "strength": evaluation.strength,
        "unknownBelow": evaluation.unknown_below,
        "unfamiliarBelow": evaluation.unfamiliar_below,
        "suspects": [{**named(index), "probability": float(probabilities[index].max())} for index in suspects],
        "hardest": [{**named(index), "loss": float(-np.log(max(own[index], 1e-12)))} for index in hardest],
        "duplicates": [
            [ids[row] for row in np.flatnonzero(evaluation.groups == group)[:most_named]] for group in alike
        ],
        "curve": evaluation.curve,
    }
    return told | {"next": next_step(told, labels, evaluation.groups)}


def next_step(told: dict[str, Any], labels: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """The one thing that would help most, by rules in the order of what they usually gain.

    Codes: ``more-pictures`` {class, images}: it has few that differ · ``different-pictures`` {class, images, kinds}: most of its
    pictures are all but the same · ``background`` {class}: it is known by what is around it · ``check-pictures`` {count}: some
    may be in the wrong class · ``tell-apart`` {class, said, count}: these two are mixed up · ``more-of-all`` {}: the curve still
    rises · ``try`` {}: it is good; try it on something new.
    """
    names = [one["name"] for one in told["classes"]]
    counts = np.array([one["images"] for one in told["classes"]])
    kinds = np.array([len(np.unique(groups[labels == one])) for one in range(len(names))])
    least = int(kinds.argmin())
    if kinds[least] < few_pictures and counts[least] > 2 * kinds[least]:
        params = {"class": names[least], "images": int(counts[least]), "kinds": int(kinds[least])}
        return {"code": "different-pictures", "params": params}
    if kinds[least] < few_pictures or counts[least] * 4 < counts.max():
        return {"code": "more-pictures", "params": {"class": names[least], "images": int(counts[least])}}
    behind = [one for one in told["classes"] if one["background"] and one["accuracy"] is not None]
    behind = [one for one in behind if one["background"] > background_above and one["accuracy"] >= told_apart]
    if behind:
        return {"code": "background", "params": {"class": max(behind, key=lambda one: one["background"])["name"]}}
    if len(told["suspects"]) >= max(2, 0.02 * len(labels)) and told["accuracy"]["value"] > 0.7:
        return {"code": "check-pictures", "params": {"count": len(told["suspects"])}}
    mixed = np.array(told["confusion"], dtype=float)
    np.fill_diagonal(mixed, 0)
    if mixed.max() >= 2 and told["accuracy"]["value"] < good_accuracy:
        what, what_said = np.unravel_index(mixed.argmax(), mixed.shape)
        params = {"class": names[what], "said": names[what_said], "count": int(mixed.max())}
        return {"code": "tell-apart", "params": params}
    points = [point["accuracy"] for point in told["curve"][-2:]]
    if len(points) == 2 and points[1] - points[0] > still_rises:
        return {"code": "more-of-all", "params": {}}
    return {"code": "try", "params": {}}


@dataclass
class Worth:
    """Of what was said of some pictures."""

    losses: np.ndarray
    """Of each."""
    accuracy: float

    def told(self) -> dict[str, float]:
        return {"loss": float(self.losses.mean()), "accuracy": self.accuracy}


def worth_of(probabilities: np.ndarray, labels: np.ndarray) -> Worth:
    own = np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)
    return Worth(-np.log(own), float((probabilities.argmax(axis=1) == labels).mean()))
