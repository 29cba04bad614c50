"""The request ``train``: records of images with cached embeddings -> a model's files and its report.

params ``{"stage", "backbone", "classes": [name], "records": path, "originals": folder, "thumbnails": folder, "seed", "out":
folder}``. The file ``records`` holds a record for each image (records.py): its id, the index of its class, its burst, its
embedding. The original of an image, where it is there, is ``{originals}/{id}``, its thumbnail ``{thumbnails}/{id}``: the files
are checked on some originals, heatmaps are made of all thumbnails.

Events ``{"percent", "step", "secondsLeft"}`` and one ``{"written": {"accuracy", "artifacts": [{"name", "type"}]}}``: these files
lie in ``out`` and stay as they are, while they are checked; result ``{"accuracy", "artifacts": [{"name", "type"}], "report"}``,
all files. The report is described in report.py.

Stage ``fine-tune`` takes ``"seconds": the most that it learns, "checkpoint": path`` as well. The checkpoint is written after
each epoch; where it exists, the run resumes from it. This stage learns from the images whose original is there and can be
decoded, and leaves the others out of all that follows. If the network is not better than the head on images that neither learned
from, there are no artifacts.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from . import facts
from .certificate import certify
from .errors import BadInput, reading
from .fine_tune_stage import FineTuneStage
from .formats import open_artifacts
from .head_stage import HeadStage
from .heatmap import Heatmap, make_heatmap
from .prepared import PreparedBackbones
from .records import Records, read_records, record_type
from .report import make_report
from .stage import Model, Progress, Stage

implemented = {stage.name: stage for stage in (HeadStage, FineTuneStage)}
stages: dict[str, type[Stage]] = {name: implemented[name] for name in facts.stages}

Event = Callable[[dict[str, Any]], None]


class Train:
    def __init__(self, backbones: PreparedBackbones, threads: int):
        self.backbones, self.threads = backbones, threads
        # On a CPU torch only proves that files are right, a few pictures at a time: threads that wait for each other on busy
        # cores take ten times as long as one alone.
        torch.set_num_threads(threads if backbones.device == "cuda" else 1)
        self.artifacts = open_artifacts()

    def __call__(self, params: dict[str, Any], event: Event) -> dict[str, Any]:
        stage, records, folder = self.read(params)
        folder.mkdir(parents=True, exist_ok=True)
        progress = Progress(event)
        model = stage.learn(records, progress)
        if not model.is_better:
            report = make_report(stage, model, progress.seconds)
            return {"accuracy": report["accuracy"]["value"], "artifacts": [], "report": report}
        files = [artifact for artifact in self.artifacts if not artifact.is_report]
        for file in files:
            file.format.write(folder / file.name, model)
        progress.finish("export", 80)
        accuracy = model.evaluation.accuracy["value"]
        event({"written": {"accuracy": accuracy, "artifacts": [file.describe() for file in files]}})
        with ThreadPoolExecutor(self.threads) as pool:
            # Heatmaps and checks share the threads: opening a file leaves room for onnxruntime.
            drawn = draw_heatmaps(model, pool)
            certificate = certify(model, files, folder, pool)
            progress.finish("check", 95)
            heatmaps = [heatmap.result() for heatmap in drawn]
            progress.finish("look", 99)
        model.report = make_report(stage, model, progress.seconds, heatmaps, certificate)
        for artifact in self.artifacts:
            if artifact.is_report:
                artifact.format.write(folder / artifact.name, model)
        artifacts = [artifact.describe() for artifact in self.artifacts]
        return {"accuracy": accuracy, "artifacts": artifacts, "report": model.report}

    def read(self, params: dict[str, Any]) -> tuple[Stage, Records, Path]:
        """@returns the stage, the images to learn from, and the folder to write to. Raises BadInput, TooFewImages."""
        with reading("train"):
            kind = stages.get(params["stage"])
            if kind is None:
                raise BadInput(f"There is no stage {params['stage']}; there is {', '.join(stages)}.")
            backbone = self.backbones.open(params["backbone"])
            needs = {name: convert(params[name]) for name, convert in kind.needs.items()}
            stage = kind(backbone, int(params["seed"]), self.threads, **needs)
            classes = [check_text(name) for name in params["classes"]]
            path, originals, thumbnails, folder = (
                Path(params[name]) for name in ("records", "originals", "thumbnails", "out")
            )
        return stage, read_records(path, classes, backbone.entry.features, originals, thumbnails), folder

    def warm_up(self, backbone: str) -> None:
        """Trains on noise: the first learner would otherwise wait for torch's first steps and the network's definition."""
        # A file of two classes, as here, is made without the program, which a file of more classes needs.
        prepared = self.backbones.open(backbone)
        _ = prepared.program
        with TemporaryDirectory() as name:
            folder = Path(name)
            rows = np.zeros(8, record_type(prepared.entry.features))
            rows["id"] = [str(row) for row in range(len(rows))]
            rows["class"], rows["burst"] = np.arange(len(rows)) % 2, -1
            rows["embedding"] = np.random.default_rng(0).normal(size=rows["embedding"].shape)
            rows.tofile(folder / "records")
            Image.new("RGB", (64, 64)).save(folder / "0", "PNG")
            folders = {"originals": name, "thumbnails": name, "out": name}
            params = {"stage": "head", "backbone": backbone, "classes": ["one", "other"], "seed": 0}
            self(params | folders | {"records": str(folder / "records")}, lambda event: None)


def draw_heatmaps(model: Model, pool: Executor) -> list[Future[Heatmap]]:
    """Starts a heatmap of each image with a thumbnail; none where the network has no feature map."""
    records = model.records
    rows = records.with_thumbnail()
    feature_map = model.open_feature_map() if rows else None
    if feature_map is None:
        return []
    return [
        pool.submit(
            make_heatmap,
            records.ids[row],
            int(records.labels[row]),
            records.thumbnail(row),
            model.head,
            model.backbone.entry,
            feature_map,
        )
        for row in rows
    ]


def check_text(name: str) -> str:
    """The name itself; ValueError for half a character, which no file can hold (JSON can: a lone surrogate)."""
    name.encode()
    return name
