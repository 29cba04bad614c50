"""The request ``train``: cached embeddings -> a model's files and its report.

params ``{"stage", "backbone", "classes": [name], "images": [{"id", "class"}], "embeddings": path of float32 [N, features],
"check": [{"row", "path"}], "look": [{"row", "path"}], "seed", "out": folder}`` (of ``check`` the originals, of ``look`` the
thumbnails); events ``{"percent", "step", "secondsLeft"}`` and one ``{"written":
{"accuracy", "artifacts": [{"name", "type"}]}}``: these files lie in ``out`` and stay as they are, while they are checked; result
``{"accuracy", "artifacts": [{"name", "type"}], "report"}``, all files.

Stage ``fine-tune`` takes ``"pictures": [path of each image], "seconds": the most that it learns, "checkpoint": path`` as
well. The file at ``checkpoint`` is written after each epoch; where it exists, the run goes on from it. If the network is not
better than the head on pictures that neither saw, there are no artifacts.

The report (``report.json``):
    format: 1
    stage, backbone, seed, versions
    classes: [{name, images, accuracy or null, background}], in the order of the probabilities; background: how much of what
        speaks for it is at the edge of its pictures, 1 where it is spread evenly (heatmap.py), or null
    accuracy: {value, low, high (95 %), method, folds, images, groups (near-duplicates count as one)}, held out
    confusion: [[count]], rows: what it is, columns: what was said; held out
    temperature, strength: of the head
    unknownBelow: confidence under which the answer is "I don't know", or null
    unfamiliarBelow: familiarity, which model.onnx gives too, under which it is that as well, or null
    suspects: [{image, class, said, probability}], pictures that may be in the wrong class
    hardest: [{image, class, said, loss}], pictures of the highest loss, wrong or nearly so
    duplicates: [[image]], pictures that are all but the same, the largest groups first
    curve: [{images, accuracy}], accuracy by the number of pictures learned from, as the head grew
    heatmaps: [{image, class, cells: [[0 to 99]]}], what speaks for its class in some pictures of each, rows from the top
    next: {code, params}, what would help most: see report.py
    certificate: {images, formats: {name: {maxDifference}}}, each file against the trainer on the learner's own pictures
    seconds: {fit, evaluate, export, check, look}, and {read, tune} of a fine-tuning; the run's own report adds {queue (due or
        queued until a worker took it), ingest (of all its pictures, when they came in: decoded, embedded), embed (now, of what
        was not cached), download, learn (all that is done here), store (after that)}
    fineTune (of that stage): {better, images: {learn, stop, judge}, head: {loss, accuracy}, network: {loss, accuracy}, both
        learned from the same and on the judging pictures; epochs, bestEpoch, wholeEpochs (then, of all pictures), batch,
        resumed, seconds, device, precision, curve: [{epoch, seconds, learned (mean loss), loss, accuracy}], of the pictures
        that say when to stop}
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from PIL import Image

from . import export, prepare
from .backbone import Backbone, graph_path, load_network
from .errors import TooFewImages
from .evaluate import (
    Evaluation,
    calibrate,
    choose_strength,
    evaluate,
    familiarity_threshold,
    fold_of,
    near_duplicates,
    rotate,
    stated,
    unknown_threshold,
)
from .familiarity import familiarity, find_prototypes
from .finetune import FineTune, divide, is_better, read_pictures, without_head
from .head import Head, fit, softmax
from .heatmap import around, cells, evidence, least_maps, open_places
from .images import open_picture
from .network import FromPixels, classifier_name
from .program import ProgramFiles, Programs, write_program
from .report import describe, worth_of
from .request import Request, read

report_file = "report.json"


class Train:
    def __init__(self, cache: Path, threads: int, device: str):
        self.cache, self.threads, self.device = cache, threads, device
        # On a CPU torch only proves that checkpoints are right, a few pictures at a time: threads that wait for each other on
        # busy cores take ten times as long as one alone.
        torch.set_num_threads(threads if device == "cuda" else 1)
        self.networks: dict[str, torch.nn.Module] = {}
        self.checked = Programs()
        self.program_files = ProgramFiles(cache)
        self.programs: dict[str, torch.export.ExportedProgram] = {}

    def warm_up(self, backbone: Backbone) -> None:
        """A run on noise: what the first learner would wait for, as torch's own first steps and the network's definition."""
        # Of two classes, as here, a file is made without it.
        self.program(backbone)
        with TemporaryDirectory() as name:
            folder = Path(name)
            noise = np.random.default_rng(0).normal(size=(8, backbone.features))
            noise.astype("<f4").tofile(folder / "embeddings")
            Image.new("RGB", (64, 64)).save(folder / "blank.png")
            params = {
                "stage": "head",
                "backbone": backbone.name,
                "classes": ["one", "other"],
                "images": [{"id": str(row), "class": row % 2} for row in range(len(noise))],
                "embeddings": str(folder / "embeddings"),
                "check": [{"row": 0, "path": str(folder / "blank.png")}],
                "look": [{"row": 0, "path": str(folder / "blank.png")}],
                "seed": 0,
                "out": name,
            }
            self(params, lambda event: None)

    def network(self, backbone: Backbone) -> torch.nn.Module:
        """On the CPU, where checkpoints are written and checked; opened with its first use and kept."""
        if backbone.name not in self.networks:
            self.networks[backbone.name] = load_network(backbone, cache=self.cache)
        return self.networks[backbone.name]

    def program(self, backbone: Backbone) -> torch.export.ExportedProgram:
        """Converted once when it was prepared; opened with its first use and kept, for the heads that are put in."""
        if backbone.name not in self.programs:
            self.programs[backbone.name] = torch.export.load(graph_path(self.cache, backbone, "program"))
        return self.programs[backbone.name]

    def __call__(self, params: dict[str, Any], event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        request = read(params)
        request.out.mkdir(parents=True, exist_ok=True)
        steps = Steps(event)
        learned = self.learn_head(request, steps) if request.stage == "head" else self.fine_tune(request, steps)
        artifacts = [{"name": name, "type": kind} for name, kind in export.artifact_types.items() if learned.better]
        formats, looks = {}, []
        if learned.better:
            self.write(request, learned)
            steps.done("export", 80)
            accuracy = learned.evaluation.accuracy["value"]
            written = [one for one in artifacts if one["name"] != report_file]
            event({"written": {"accuracy": accuracy, "artifacts": written}})
            formats = self.check(request, learned)
            steps.done("check", 95)
            looks = self.look(request, learned.head)
            steps.done("look", 99)
        report = {
            "format": 1,
            "stage": request.stage,
            "backbone": request.backbone.name,
            "seed": request.seed,
            **describe(learned.evaluation, request.classes, request.labels, request.ids, backgrounds(request, looks)),
            **learned.more,
            "heatmaps": [
                {"image": request.ids[row], "class": request.classes[request.labels[row]], "cells": cells(values)}
                for row, values in looks
            ],
            "certificate": {"images": len(request.check) if formats else 0, "formats": formats},
            "seconds": steps.seconds,
            "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        }
        if learned.better:
            text = json.dumps(report, ensure_ascii=False, indent=1)
            (request.out / report_file).write_text(text, encoding="utf-8")
        return {"accuracy": report["accuracy"]["value"], "artifacts": artifacts, "report": report}

    def learn_head(self, request: Request, steps: "Steps") -> "Learned":
        embeddings, labels, classes = request.embeddings, request.labels, len(request.classes)
        steps.begin("evaluate")
        evaluation = evaluate(embeddings, labels, classes, request.seed)
        steps.done("evaluate", 50)
        head = fit(embeddings, labels, classes, evaluation.strength).cooled(evaluation.temperature)
        steps.done("fit", 60)
        return Learned(evaluation, head, self.network(request.backbone), find_prototypes(embeddings, labels, classes))

    def fine_tune(self, request: Request, steps: "Steps") -> "Learned":
        embeddings, labels, classes = request.embeddings, request.labels, len(request.classes)
        steps.begin("evaluate")
        groups = near_duplicates(embeddings)
        points = rotate(embeddings)
        folds = fold_of(labels, groups, classes, request.seed)
        sides = divide(folds)
        if sides is None:
            raise TooFewImages("To tune the network each class needs three pictures that are not alike.")
        strength = choose_strength(points, labels, classes, folds, request.seed)
        start = fit(embeddings[sides.learn], labels[sides.learn], classes, strength)
        cool = calibrate(start.logits(embeddings[sides.stop]), labels[sides.stop])
        rival = start.cooled(cool)
        steps.done("evaluate", 2)
        pictures = read_pictures(request.pictures, request.backbone.side, self.threads)
        steps.done("read", 5)

        def told(share: float, left: float) -> None:
            steps.say("tune", 5 + 70 * share, left)

        torch.set_num_threads(self.threads)
        try:
            tuning = FineTune(request.backbone, rival, pictures, labels, self.device, request.seed, self.cache)
            judged = tuning.run(sides, request.seconds, request.checkpoint, told)
            stop, judge = tuning.logits(sides.stop, judged), tuning.logits(sides.judge, judged)
            temperature = calibrate(stop, labels[sides.stop])
            probabilities = softmax(judge / temperature)
            worth = [
                worth_of(one, labels[sides.judge])
                for one in (softmax(rival.logits(embeddings[sides.judge])), probabilities)
            ]
            learned = tuning.tuning.best_epoch > 0
            better = learned and worth[1].accuracy >= worth[0].accuracy and is_better(worth[1].losses, worth[0].losses)
            seen = without_head(judged)
            prototypes = find_prototypes(tuning.logits(sides.learn, seen), labels[sides.learn], classes)
            known = familiarity(tuning.logits(sides.judge, seen), prototypes)
            if better:
                whole = fit(embeddings, labels, classes, strength).cooled(cool)
                judged = tuning.learn_all(whole, sides, request.seconds, request.checkpoint, told)
                everything = np.arange(len(labels))
                prototypes = find_prototypes(tuning.logits(everything, without_head(judged)), labels, classes)
        finally:
            torch.set_num_threads(self.threads if self.device == "cuda" else 1)
        steps.done("tune", 75)
        right = probabilities.argmax(axis=1) == labels[sides.judge]
        evaluation = Evaluation(
            strength,
            temperature,
            unknown_threshold(probabilities, right),
            familiarity_threshold(known, right),
            sides.judge,
            probabilities,
            stated(right, groups[sides.judge], "held-out", len(np.unique(folds))),
            groups,
            curve=[],
        )
        told_of = {
            "better": better,
            "images": {name: len(rows) for name, rows in vars(sides).items()},
            "head": worth[0].told(),
            "network": worth[1].told(),
            **tuning.described(),
        }
        weight, bias = (one.detach().double().cpu().numpy() for one in judged.get_classifier().parameters())
        head, network = Head(weight, bias).cooled(temperature), without_head(judged.cpu())
        return Learned(evaluation, head, network, prototypes, better, {"fineTune": told_of})

    def write(self, request: Request, learned: "Learned") -> None:
        """All files but the report."""
        backbone, classes, out, head = request.backbone, request.classes, request.out, learned.head
        tuned = request.stage == "fine-tune"
        if tuned:
            # As a GPU liked them, tensors lie otherwise in memory, and would be written so.
            learned.network.to("cpu", memory_format=torch.contiguous_format)
            embed = prepare.embed_graph(backbone, learned.network)
            graph = prepare.classify_graph(backbone, prepare.preprocess_graph(backbone), embed)
        else:
            graph = export.backbone_graph(self.cache, backbone)
        export.write_checkpoint(out / "model.pt", backbone, learned.network, head, classes)
        path, network = out / "model.pt2", learned.network
        if tuned:
            write_program(path, self.program(backbone), network, head, classes)
        else:
            self.program_files.write(path, backbone, self.program, network, head, classes)
        export.write_onnx(out / "model.onnx", graph, backbone, head, learned.prototypes, classes)
        export.write_labels(out / "labels.txt", classes)

    def check(self, request: Request, learned: "Learned") -> dict:
        """Runs each file on some of the learner's pictures, from their pixels: how much it differs from the trainer."""
        backbone, out = request.backbone, request.out
        pixels = [open_picture(path, 1_000_000_000).pixels for _, path in request.check]
        if not pixels:
            return {}
        if request.stage == "fine-tune":
            whole = FromPixels(learned.network, backbone.side, backbone.mean, backbone.scale)
            with torch.inference_mode():
                embeddings = [whole.embed(torch.from_numpy(one.copy())[None])[0].double().numpy() for one in pixels]
        else:
            embeddings = [request.embeddings[row] for row, _ in request.check]
        openers = {
            "model.pt": export.open_checkpoint,
            "model.pt2": lambda path: self.checked.open(path, classifier_name(learned.network)),
            "model.onnx": export.open_onnx,
        }
        pictures = list(zip(pixels, embeddings, strict=True))

        def differ(name: str) -> dict:
            run = openers[name](out / name)
            return {"maxDifference": export.largest_difference(run, learned.head, pictures)}

        with ThreadPoolExecutor(self.threads) as pool:
            return dict(zip(openers, pool.map(differ, openers), strict=True))

    def look(self, request: Request, head: Head) -> list[tuple[int, np.ndarray]]:
        """Rows, and what speaks for their class in each place of their picture; nothing where the network does not tell."""
        see = open_places(request.out / "model.onnx") if request.look else None
        if see is None:
            return []

        def one(row: int, path: Path) -> tuple[int, np.ndarray]:
            return row, evidence(head, see(open_picture(path, 1_000_000).pixels), request.labels[row])

        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(one, *zip(*request.look, strict=True)))


def backgrounds(request: Request, looks: list[tuple[int, np.ndarray]]) -> list[float | None]:
    """Of each class; None where too few pictures of it were looked at."""
    shares: list[list[float]] = [[] for _ in request.classes]
    for row, values in looks:
        shares[request.labels[row]].append(around(values))
    return [float(np.mean(own)) if len(own) >= least_maps else None for own in shares]


@dataclass
class Learned:
    """What a stage has come to."""

    evaluation: Evaluation
    head: Head
    network: torch.nn.Module
    """On the CPU, without a head."""
    prototypes: np.ndarray
    """float64 [P, features]: see familiarity.py."""
    better: bool = True
    """Than what there was without it: else it is not published."""
    more: dict[str, Any] = field(default_factory=dict)
    """Of the report."""


class Steps:
    """Says how far a run is, and keeps the seconds of each step."""

    def __init__(self, event: Callable[[dict[str, Any]], None]):
        self.event, self.began = event, time.perf_counter()
        self.seconds: dict[str, float] = {}

    def begin(self, step: str) -> None:
        self.say(step, 0, None)

    def say(self, step: str, percent: float, left: float | None) -> None:
        self.event({"percent": percent, "step": step, "secondsLeft": left if left is None else round(max(0, left), 1)})

    def done(self, step: str, percent: int) -> None:
        self.seconds[step] = round(time.perf_counter() - self.began, 4)
        self.began = time.perf_counter()
        self.say(step, percent, sum(self.seconds.values()) * (100 - percent) / percent)
