"""The request ``train``: cached embeddings -> a model's files and its report.

params ``{"stage", "backbone", "classes": [name], "images": [{"id", "class"}], "embeddings": path of float32 [N, features],
"check": [{"row", "path"}], "seed", "out": folder}``; events ``{"percent", "step", "secondsLeft"}``; result
``{"accuracy", "artifacts": [{"name", "type"}], "report"}``, the files lie in ``out``.

The report (``report.json``):
    format: 1
    stage, backbone, seed, versions
    classes: [{name, images, accuracy or null}], in the order of the probabilities
    accuracy: {value, low, high (95 %), method, folds, images, groups (near-duplicates count as one)}, held out
    confusion: [[count]], rows: what it is, columns: what was said; held out
    temperature, strength: of the head
    unknownBelow: confidence under which the answer is "I don't know", or null
    suspects: [{image, class, said, probability}], pictures that may be in the wrong class
    certificate: {images, formats: {name: {maxDifference}}}, each file against the trainer on the learner's own pictures
    seconds: {fit, evaluate, export, check}
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from . import export
from .backbone import Backbone, load_network, registry
from .errors import BadInput
from .evaluate import Evaluation, confusion, evaluate
from .head import Head, fit
from .images import open_picture

stages = ("head",)
most_suspects = 20
# Held-out probability of its own class under which a picture is worth a second look.
suspect_below = 0.2


class Train:
    def __init__(self, cache: Path, threads: int, device: str):
        self.cache, self.threads, self.device = cache, threads, device
        # On a CPU torch only proves that checkpoints are right, a few pictures at a time: threads that wait for each other on
        # busy cores take ten times as long as one alone.
        torch.set_num_threads(threads if device == "cuda" else 1)
        self.networks: dict[str, torch.nn.Module] = {}
        # What the first run would wait for: the network's definition, and torch's own first steps.
        default = next(iter(registry.values()))
        network = self.network(default)
        with torch.inference_mode():
            network(torch.zeros(1, 3, default.side, default.side))

    def network(self, backbone: Backbone) -> torch.nn.Module:
        """On the CPU, where checkpoints are written and checked; opened with its first use and kept."""
        if backbone.name not in self.networks:
            self.networks[backbone.name] = load_network(backbone)
        return self.networks[backbone.name]

    def __call__(self, params: dict[str, Any], event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        backbone, classes, embeddings, labels = read(params)
        out = Path(params["out"])
        out.mkdir(parents=True, exist_ok=True)
        seconds: dict[str, float] = {}
        began = time.perf_counter()

        def done(step: str, percent: int) -> None:
            nonlocal began
            seconds[step] = round(time.perf_counter() - began, 4)
            began = time.perf_counter()
            left = sum(seconds.values()) * (100 - percent) / percent
            event({"percent": percent, "step": step, "secondsLeft": round(left, 1)})

        event({"percent": 0, "step": "evaluate", "secondsLeft": None})
        evaluation = evaluate(embeddings, labels, len(classes), params["seed"])
        done("evaluate", 50)
        head = fit(embeddings, labels, len(classes), evaluation.strength).cooled(evaluation.temperature)
        done("fit", 60)
        network = self.network(backbone)
        export.write_checkpoint(out / "model.pt", backbone, network, head, classes)
        export.write_onnx(out / "model.onnx", self.cache, backbone, head, classes)
        (out / "labels.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
        done("export", 80)
        formats = self.check(params["check"], embeddings, head, backbone, out)
        done("check", 99)

        report = {
            "format": 1,
            "stage": params["stage"],
            "backbone": backbone.name,
            "seed": params["seed"],
            **describe(evaluation, classes, labels, [image["id"] for image in params["images"]]),
            "certificate": {"images": len(params["check"]), "formats": formats},
            "seconds": seconds,
            "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        }
        (out / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
        artifacts = [{"name": name, "type": kind} for name, kind in export.artifact_types.items()]
        return {"accuracy": report["accuracy"]["value"], "artifacts": artifacts, "report": report}

    def check(self, check: list[dict], embeddings: np.ndarray, head: Head, backbone: Backbone, out: Path) -> dict:
        """Runs each file on some of the learner's pictures, from their pixels."""
        if not check:
            return {}
        pictures = [
            (open_picture(Path(one["path"]), 1_000_000_000).pixels, embeddings[one["row"]].astype(np.float64))
            for one in check
        ]
        runs = {
            "model.pt": export.open_checkpoint(out / "model.pt", backbone, self.network(backbone)),
            "model.onnx": export.open_onnx(out / "model.onnx"),
        }
        return {name: {"maxDifference": export.largest_difference(run, head, pictures)} for name, run in runs.items()}


def read(params: dict[str, Any]) -> tuple[Backbone, list[str], np.ndarray, np.ndarray]:
    """Backbone, classes, embeddings float64 [N, features], labels int [N]. Raises BadInput when they do not fit."""
    if params["stage"] not in stages:
        raise BadInput(f"There is no stage {params['stage']}; there is {', '.join(stages)}.")
    if params["backbone"] not in registry:
        raise BadInput(f"There is no backbone {params['backbone']}; there are {', '.join(registry)}.")
    backbone, classes = registry[params["backbone"]], params["classes"]
    labels = np.array([image["class"] for image in params["images"]], dtype=int)
    values = np.fromfile(params["embeddings"], dtype="<f4")
    if len(values) != len(labels) * backbone.features:
        raise BadInput(f"Expected {len(labels)} embeddings of {backbone.features} numbers, got {len(values)} numbers.")
    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) < 2 or len(counts) != len(classes) or counts.min() < 2:
        raise BadInput(f"Expected two classes or more with two pictures each, got {counts.tolist()}.")
    return backbone, classes, values.reshape(len(labels), backbone.features).astype(np.float64), labels


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
