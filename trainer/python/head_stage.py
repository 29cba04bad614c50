"""Stage ``head``: a classifier on the frozen embeddings of a backbone; seconds for a few hundred images, on a CPU."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from .blocks import Blocks
from .evaluate import evaluate
from .familiarity import find_prototypes
from .head import fit
from .heatmap import FeatureMap
from .program import ProgramFiles
from .records import Records
from .stage import Model, Progress, Stage


class HeadModel(Model):
    """A head on the backbone as it is, so all but the head is prepared."""

    def graph(self) -> onnx.ModelProto:
        return self.backbone.classify_graph

    def write_program(self, path: Path, files: ProgramFiles) -> None:
        files.write(path, self.backbone, self.network, self.head, self.classes)

    def embed(self, rows: list[int], pictures: list[np.ndarray]) -> np.ndarray:
        """Those that it learned from."""
        return self.records.embeddings[rows]

    def open_feature_map(self) -> FeatureMap | None:
        return self.backbone.feature_map


@dataclass
class HeadStage(Stage):
    name = "head"

    def learn(self, records: Records, progress: Progress) -> HeadModel:
        blocks, labels, classes = (
            Blocks(records.embeddings, self.backbone.entry.is_level),
            records.labels,
            len(records.classes),
        )
        progress.report("evaluate", 0, None)
        evaluation = evaluate(blocks, labels, classes, self.seed, records.bursts)
        progress.finish("evaluate", 50)
        shrinkage, level_weight = evaluation.shrinkage, evaluation.level_weight
        head = fit(blocks, labels, classes, shrinkage, level_weight).cooled(evaluation.temperature)
        prototypes = find_prototypes(blocks, labels, classes, level_weight)
        network = self.backbone.network
        progress.finish("fit", 60)
        return HeadModel(self.backbone, records, evaluation, head, network, prototypes)
