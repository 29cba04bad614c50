"""The head of the trainer's first version: class-balanced logistic regression whose penalty is chosen by held-out loss."""

import numpy as np
from scipy.optimize import minimize

from trainer.python.choice import calibrate, weigh_classes
from trainer.python.head import Head, log_softmax
from trainer.python.splits import assign_folds

# These are strengths of the L2 penalty, on features of unit mean length.
strengths = (0.0003, 0.001, 0.003, 0.01, 0.03)


def fit_logistic(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> Head:
    """``features``: float64 [N, D] of the last layer, ``labels``: int [N] from 0. Of strengths that are as good, the largest."""
    folds = assign_folds(labels, np.arange(len(labels)), classes, seed, leave_one_out=False)

    def measure_loss(strength: float) -> float:
        logits = np.zeros((len(labels), classes))
        for fold in np.unique(folds):
            held = folds == fold
            logits[held] = fit_with(features[~held], labels[~held], classes, strength).logits(features[held])
        return calibrate(logits, labels, weigh_classes(labels, classes))[1]

    losses = [measure_loss(strength) for strength in strengths]
    best = max(strength for strength, loss in zip(strengths, losses, strict=True) if loss <= min(losses) + 0.005)
    return fit_with(features, labels, classes, best)


def fit_with(features: np.ndarray, labels: np.ndarray, classes: int, strength: float) -> Head:
    """The solution lies in the span of the pictures, where L-BFGS has few unknowns; centring and scaling are folded in."""
    centre = features.mean(axis=0)
    centred = features - centre
    scale = 1 / max(np.sqrt((centred**2).sum(axis=1)).mean(), 1e-12)
    left, sizes, span = np.linalg.svd(centred * scale, full_matrices=False)
    points = left * sizes
    weight_of, truth, unknowns = weigh_classes(labels, classes), np.eye(classes)[labels], points.shape[1]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = flat[: classes * unknowns].reshape(classes, unknowns)
        logs = log_softmax(points @ weight.T + flat[classes * unknowns :])
        wrong = (np.exp(logs) - truth) * weight_of[:, None]
        value = -(weight_of * logs[np.arange(len(labels)), labels]).sum() + strength / 2 * (weight**2).sum()
        return value, np.concatenate([(wrong.T @ points + strength * weight).ravel(), wrong.sum(axis=0)])

    start = np.zeros(classes * (unknowns + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300, "ftol": 1e-9}).x
    weight = found[: classes * unknowns].reshape(classes, unknowns) @ span * scale
    return Head(weight, found[classes * unknowns :] - weight @ centre)
