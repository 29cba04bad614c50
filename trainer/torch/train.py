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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from . import export
from .backbone import Backbone, find_backbone, graph_path, load_network, registry
from .errors import BadInput, reading
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
        self.programs: dict[str, torch.export.ExportedProgram] = {}
        # What the first run would wait for: the network's definition, and torch's own first steps.
        default = next(iter(registry.values()))
        network = self.network(default)
        self.program(default)
        with torch.inference_mode():
            network(torch.zeros(1, 3, default.side, default.side))

    def network(self, backbone: Backbone) -> torch.nn.Module:
        """On the CPU, where checkpoints are written and checked; opened with its first use and kept."""
        if backbone.name not in self.networks:
            self.networks[backbone.name] = load_network(backbone)
        return self.networks[backbone.name]

    def program(self, backbone: Backbone) -> torch.export.ExportedProgram:
        """Converted once when it was prepared; opened with its first use and kept, for the heads that are put in."""
        if backbone.name not in self.programs:
            self.programs[backbone.name] = torch.export.load(graph_path(self.cache, backbone, "program"))
        return self.programs[backbone.name]

    def __call__(self, params: dict[str, Any], event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        request = read(params)
        backbone, classes, out = request.backbone, request.classes, request.out
        embeddings, labels = request.embeddings, request.labels
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
        evaluation = evaluate(embeddings, labels, len(classes), request.seed)
        done("evaluate", 50)
        head = fit(embeddings, labels, len(classes), evaluation.strength).cooled(evaluation.temperature)
        done("fit", 60)
        network = self.network(backbone)
        export.write_checkpoint(out / "model.pt", backbone, network, head, classes)
        export.write_program(out / "model.pt2", self.program(backbone), head, classes)
        export.write_onnx(out / "model.onnx", self.cache, backbone, head, classes)
        export.write_labels(out / "labels.txt", classes)
        done("export", 80)
        formats = self.check(request.check, embeddings, head, out)
        done("check", 99)

        report = {
            "format": 1,
            "stage": request.stage,
            "backbone": backbone.name,
            "seed": request.seed,
            **describe(evaluation, classes, labels, request.ids),
            "certificate": {"images": len(request.check), "formats": formats},
            "seconds": seconds,
            "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        }
        (out / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
        artifacts = [{"name": name, "type": kind} for name, kind in export.artifact_types.items()]
        return {"accuracy": report["accuracy"]["value"], "artifacts": artifacts, "report": report}

    def check(self, check: list[tuple[int, Path]], embeddings: np.ndarray, head: Head, out: Path) -> dict:
        """Runs each file on some of the learner's pictures, from their pixels."""
        if not check:
            return {}
        pictures = [(open_picture(path, 1_000_000_000).pixels, embeddings[row]) for row, path in check]
        runs = {
            "model.pt": export.open_checkpoint(out / "model.pt"),
            "model.pt2": export.open_program(out / "model.pt2"),
            "model.onnx": export.open_onnx(out / "model.onnx"),
        }
        return {name: {"maxDifference": export.largest_difference(run, head, pictures)} for name, run in runs.items()}


@dataclass
class Request:
    """What is trained, read and checked."""

    stage: str
    backbone: Backbone
    classes: list[str]
    ids: list[str]
    labels: np.ndarray
    """int [N], from 0"""
    embeddings: np.ndarray
    """float64 [N, features]"""
    check: list[tuple[int, Path]]
    """Row and original of some images."""
    seed: int
    out: Path


def read(params: dict[str, Any]) -> Request:
    """Raises BadInput when something is missing, unknown, or does not fit the rest."""
    with reading("train"):
        request = Request(
            stage=params["stage"],
            backbone=find_backbone(params["backbone"]),
            classes=[plain_text(name) for name in params["classes"]],
            ids=[image["id"] for image in params["images"]],
            labels=np.array([image["class"] for image in params["images"]], dtype=int),
            embeddings=np.fromfile(params["embeddings"], dtype="<f4").astype(np.float64),
            check=[(int(one["row"]), Path(one["path"])) for one in params["check"]],
            seed=int(params["seed"]),
            out=Path(params["out"]),
        )
    if request.stage not in stages:
        raise BadInput(f"There is no stage {request.stage}; there is {', '.join(stages)}.")
    count, features, numbers = len(request.labels), request.backbone.features, len(request.embeddings)
    if numbers != count * features:
        raise BadInput(f"Expected {count} embeddings of {features} numbers, got {numbers} numbers.")
    if not np.isfinite(request.embeddings).all():
        raise BadInput("Expected embeddings of finite numbers, got some that are none: compute them again.")
    known = [label for label in request.labels if 0 <= label < len(request.classes)]
    images = np.bincount(known, minlength=len(request.classes)).tolist()
    if len(known) < count or len(images) < 2 or min(images) < 2:
        raise BadInput(f"Expected two classes or more with two pictures each, got {images} of {count} pictures.")
    if any(not 0 <= row < count for row, _ in request.check):
        raise BadInput(f"Expected check to name rows from 0 to {count - 1}, got {[row for row, _ in request.check]}.")
    request.embeddings = request.embeddings.reshape(count, features)
    return request


def plain_text(name: str) -> str:
    """The name itself; ValueError for half a character, which no file can hold (JSON can: a lone surrogate)."""
    name.encode()
    return name


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
