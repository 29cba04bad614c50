"""The head: class-balanced multinomial logistic regression on embeddings, deterministic, in numpy and scipy."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

# Of the L2 penalty, on features of unit mean length. Weaker ones are overconfident on few pictures.
strengths = (0.0003, 0.001, 0.003, 0.01, 0.03)


@dataclass
class Head:
    weight: np.ndarray
    """float64 [classes, features], for embeddings as they are: centring and scaling are folded in."""
    bias: np.ndarray
    """float64 [classes]"""

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        return embeddings @ self.weight.T + self.bias

    def cooled(self, temperature: float) -> "Head":
        """The same answers with calibrated probabilities (Guo et al. 2017, temperature scaling)."""
        return Head(self.weight / temperature, self.bias / temperature)


def fit(embeddings: np.ndarray, labels: np.ndarray, classes: int, strength: float) -> Head:
    """The head of these embeddings [N, features] with labels [N] from 0; every class counts the same, however many it has.

    With far fewer pictures than features the solution lies in their span, where L-BFGS has N unknowns a class instead of 1,280
    (a rotation leaves the penalty as it is).
    """
    centre = embeddings.mean(axis=0)
    centred = embeddings - centre
    scale = 1 / max(np.sqrt((centred**2).sum(axis=1)).mean(), 1e-12)
    points = centred * scale
    span = None
    # Where that is about as many the decomposition costs more than it saves.
    if 2 * len(points) < points.shape[1]:
        left, sizes, span = np.linalg.svd(points, full_matrices=False)
        points = left * sizes
    share = np.bincount(labels, minlength=classes).astype(float)
    weight_of = (1 / (np.maximum(share, 1) * max((share > 0).sum(), 1)))[labels]
    truth = np.eye(classes)[labels]
    unknowns = points.shape[1]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = flat[: classes * unknowns].reshape(classes, unknowns)
        logits = points @ weight.T + flat[classes * unknowns :]
        logs = log_softmax(logits)
        wrong = (np.exp(logs) - truth) * weight_of[:, None]
        value = -(weight_of * logs[np.arange(len(labels)), labels]).sum() + strength / 2 * (weight**2).sum()
        return value, np.concatenate([(wrong.T @ points + strength * weight).ravel(), wrong.sum(axis=0)])

    start = np.zeros(classes * (unknowns + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300, "ftol": 1e-9}).x
    weight = found[: classes * unknowns].reshape(classes, unknowns)
    weight = (weight if span is None else weight @ span) * scale
    return Head(weight, found[classes * unknowns :] - weight @ centre)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(logits))
