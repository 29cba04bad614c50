"""What a report says of pictures that were held out (its schema: train.py)."""

from typing import Any

import numpy as np

from .evaluate import Evaluation, confusion

most_suspects = 20
# Held-out probability of its own class under which a picture is worth a second look.
suspect_below = 0.2


def describe(evaluation: Evaluation, classes: list[str], labels: np.ndarray, ids: list[str]) -> dict[str, Any]:
    """What the report says of the held-out pictures."""
    rows, probabilities = evaluation.held_out, evaluation.probabilities
    said = probabilities.argmax(axis=1)
    own = probabilities[np.arange(len(rows)), labels[rows]]

    def accuracy_of(one: int) -> float | None:
        judged = labels[rows] == one
        return float((said[judged] == one).mean()) if judged.any() else None

    suspects = [index for index in np.argsort(own)[:most_suspects] if own[index] < suspect_below]
    return {
        "classes": [
            {"name": name, "images": int((labels == one).sum()), "accuracy": accuracy_of(one)}
            for one, name in enumerate(classes)
        ],
        "accuracy": evaluation.accuracy,
        "confusion": confusion(labels[rows], said, len(classes)),
        "temperature": evaluation.temperature,
        "strength": evaluation.strength,
        "unknownBelow": evaluation.unknown_below,
        "suspects": [
            {
                "image": ids[rows[index]],
                "class": classes[labels[rows[index]]],
                "said": classes[said[index]],
                "probability": float(probabilities[index].max()),
            }
            for index in suspects
        ],
    }


def worth_of(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    own = np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)
    return {"loss": float(-np.log(own).mean()), "accuracy": float((probabilities.argmax(axis=1) == labels).mean())}
