"""The report of a model, ``report.json``.

format: 1
stage, backbone, seed, versions
classes: [{name, images, accuracy or null, background, singleBurst}], in the order of the probabilities; background: how much
    of the evidence for it is at the edge of its pictures, 1 where it is spread evenly (heatmap.py), or null; singleBurst:
    whether its pictures are all but the same or of one burst, so that its accuracy says little
accuracy: {value, low, high (95 %), method, folds, images, groups (near-duplicates count as one)}, held out
confusion: [[count]], rows: the class, columns: the answer; held out
temperature, shrinkage, blocks: of the head; blocks: the weight of the levels beside the last layer (choice.py)
unknownBelow: confidence under which the answer is "I don't know", or null
unfamiliarBelow: familiarity, an output of model.onnx too, under which the answer is that as well, or null
suspects: [{image, class, said, probability}], pictures that may be in the wrong class
hardest: [{image, class, said, loss}], pictures of the highest loss, wrong or nearly so
duplicates: [[image]], pictures that are all but the same, the largest groups first
curve: [{images, accuracy}], accuracy by the number of pictures learned from, as the head grew
heatmaps: [{image, class, cells: [[0 to 99]]}], the evidence for its class in some pictures of each, rows from the top
next: {code, params}, what would help most: see ``next_step``
certificate: {images, formats: {name: {maxDifference}}}, each file against the trainer on the learner's own pictures
seconds: {fit, evaluate, export, check, look}, and {read, tune} of a fine-tuning; look: what heatmaps took after check; the
    run's own report adds {queue (due or queued until a worker took it), ingest (of all its pictures, when they came in:
    decoded, embedded), embed (now, of what was not cached), download, learn (all that is done here), store (after that)}
fineTune (of that stage): {better, images: {learn, stop, judge}, head: {loss, accuracy}, network: {loss, accuracy}, both
    learned from the same and on the judging pictures; epochs, bestEpoch, wholeEpochs (then, of all pictures), batch,
    resumed, seconds, device, precision, curve: [{epoch, seconds, learned (mean loss), loss, accuracy}], of the pictures
    that say when to stop}
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import torch

from . import facts
from .backbone import Backbone, registry
from .evaluate import count_confusion
from .heatmap import Heatmap, average_edge_shares
from .splits import find_single_bursts
from .stage import Model, Stage

most_suspects = 20
# Held-out probability of its own class under which a picture is worth checking.
suspect_below = 0.2
# And under which it is among the hard ones.
hard_below = 0.6
most_groups, most_named = 20, 20
# A class with fewer pictures that differ from each other teaches little.
few_pictures = 10
good_accuracy = 0.95
# Accuracy of a model whose doubts about a picture are worth checking.
trusted_accuracy = 0.7
# How much of the evidence for a class may be at the edge of its pictures, if the class is recognised at all.
background = facts.thresholds["background"]
# Gain of the last quarter of the pictures that says that more will help.
still_rises = 0.02


def make_report(
    stage: Stage,
    model: Model,
    seconds: dict[str, float],
    heatmaps: Sequence[Heatmap] = (),
    certificate: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Without heatmaps and certificate: of a model that has no files."""
    records = model.records
    return {
        "format": 1,
        "stage": stage.name,
        "backbone": model.backbone.name,
        "seed": stage.seed,
        **describe(model, average_edge_shares(heatmaps, len(records.classes))),
        **model.findings,
        "heatmaps": [
            {"image": heatmap.image, "class": records.classes[heatmap.label], "cells": heatmap.cells}
            for heatmap in heatmaps
        ],
        "certificate": certificate or {"images": 0, "formats": {}},
        "seconds": seconds,
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
    }


def describe(model: Model, backgrounds: list[float | None]) -> dict[str, Any]:
    """The part of the report about held-out pictures and about each class.

    Args:
        backgrounds: of each class (heatmap.py).
    """
    evaluation, records = model.evaluation, model.records
    ids, labels, classes = records.ids, records.labels, records.classes
    rows, probabilities = evaluation.held_out, evaluation.probabilities
    answers = probabilities.argmax(axis=1)
    own = probabilities[np.arange(len(rows)), labels[rows]]

    def accuracy_of(label: int) -> float | None:
        judged = labels[rows] == label
        return float((answers[judged] == label).mean()) if judged.any() else None

    order = np.argsort(own)
    suspects = [index for index in order[:most_suspects] if own[index] < suspect_below]
    hardest = [index for index in order[:most_suspects] if own[index] < hard_below]
    sizes = np.bincount(evaluation.groups)
    single = find_single_bursts(labels, evaluation.groups, len(classes))
    alike = [group for group in np.argsort(-sizes, kind="stable")[:most_groups] if sizes[group] > 1]

    def name_picture(index: int) -> dict[str, Any]:
        return {"image": ids[rows[index]], "class": classes[labels[rows[index]]], "said": classes[answers[index]]}

    report = {
        "classes": [
            {
                "name": name,
                "images": int((labels == label).sum()),
                "accuracy": accuracy_of(label),
                "background": backgrounds[label],
                "singleBurst": single[label],
            }
            for label, name in enumerate(classes)
        ],
        "accuracy": evaluation.accuracy,
        "confusion": count_confusion(labels[rows], answers, len(classes)),
        "temperature": evaluation.temperature,
        "shrinkage": evaluation.shrinkage,
        "blocks": evaluation.level_weight,
        "unknownBelow": evaluation.unknown_below,
        "unfamiliarBelow": evaluation.unfamiliar_below,
        "suspects": [{**name_picture(index), "probability": float(probabilities[index].max())} for index in suspects],
        "hardest": [{**name_picture(index), "loss": float(-np.log(max(own[index], 1e-12)))} for index in hardest],
        "duplicates": [
            [ids[row] for row in np.flatnonzero(evaluation.groups == group)[:most_named]] for group in alike
        ],
        "curve": evaluation.curve,
    }
    return report | {"next": next_step(report, labels, evaluation.groups, model.backbone.name)}


def next_step(report: dict[str, Any], labels: np.ndarray, groups: np.ndarray, backbone: str) -> dict[str, Any]:
    """Chooses what would help most, by rules in the order of what they usually gain.

    Codes: ``single-burst`` {class}: all of its pictures are one burst or all but the same · ``more-pictures`` {class, images}:
    the class has few that differ · ``different-pictures`` {class, images, kinds}: most of its pictures are all but the same ·
    ``background`` {class}: it is recognised by its background · ``check-pictures`` {count}: some may be in the wrong class ·
    ``tell-apart`` {class, said, count}: these two are mixed up · ``more-of-all`` {}: the curve still rises · ``sharper-eyes``
    {backbone, points, cost}: another backbone was so many points better on ten sets, at so many times the cost · ``try`` {}: it
    is good; try it on something new.
    """
    classes = report["classes"]
    names = [entry["name"] for entry in classes]
    single = [entry["name"] for entry in classes if entry["singleBurst"]]
    if single:
        return {"code": "single-burst", "params": {"class": single[0]}}
    counts = np.array([entry["images"] for entry in classes])
    kinds = np.array([len(np.unique(groups[labels == label])) for label in range(len(names))])
    least = int(kinds.argmin())
    if kinds[least] < few_pictures and counts[least] > 2 * kinds[least]:
        params = {"class": names[least], "images": int(counts[least]), "kinds": int(kinds[least])}
        return {"code": "different-pictures", "params": params}
    if kinds[least] < few_pictures or counts[least] * 4 < counts.max():
        return {"code": "more-pictures", "params": {"class": names[least], "images": int(counts[least])}}
    suspicious = [
        entry
        for entry in classes
        if entry["background"] and entry["background"] > background["above"]
        if entry["accuracy"] is not None and entry["accuracy"] >= background["accuracyAtLeast"]
    ]
    if suspicious:
        worst = max(suspicious, key=lambda entry: entry["background"])
        return {"code": "background", "params": {"class": worst["name"]}}
    if len(report["suspects"]) >= max(2, 0.02 * len(labels)) and report["accuracy"]["value"] > trusted_accuracy:
        return {"code": "check-pictures", "params": {"count": len(report["suspects"])}}
    mixed = np.array(report["confusion"], dtype=float)
    np.fill_diagonal(mixed, 0)
    if mixed.max() >= 2 and report["accuracy"]["value"] < good_accuracy:
        label, answer = np.unravel_index(mixed.argmax(), mixed.shape)
        params = {"class": names[label], "said": names[answer], "count": int(mixed.max())}
        return {"code": "tell-apart", "params": params}
    points = [point["accuracy"] for point in report["curve"][-2:]]
    if len(points) == 2 and points[1] - points[0] > still_rises:
        return {"code": "more-of-all", "params": {}}
    better = recommend_backbone(backbone, int(counts.min()))
    if better and report["accuracy"]["value"] < good_accuracy:
        params = {"backbone": better.name, "points": better.better.points, "cost": better.better.cost}
        return {"code": "sharper-eyes", "params": params}
    return {"code": "try", "params": {}}


def recommend_backbone(current: str, images: int) -> Backbone | None:
    """The first entry that was measured to be better than ``current`` from so many images a class on."""
    measured = [entry for entry in registry.values() if entry.better and entry.better.than == current]
    return next((entry for entry in measured if images >= entry.better.images), None)
