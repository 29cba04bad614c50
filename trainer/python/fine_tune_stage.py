"""Stage ``fine-tune``: the network itself, from the head's solution, published if it is better on images held out.

Groups of near-duplicates stay on one side of three: most images are learned from, one fold says when to stop, one judges between
the network and a head that learned from the same images. If the network wins it learns once more, from all of them: three fifths
are too few to be ahead of a head that has them all. On breeds of cats, 12 epochs of all images were 4 points ahead of a logistic
regression on the last layer with 25 a class and 1 to 2 with 50; on cats and dogs, and with 10 a class, neither was ahead.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import onnx
import torch

from .blocks import Blocks
from .choice import Choice, calibrate, choose, weigh_classes
from .errors import TooFewImages
from .evaluate import (
    Evaluation,
    choose_familiarity_threshold,
    choose_unknown_threshold,
    sample_to_choose,
    state_accuracy,
)
from .familiarity import find_prototypes, measure_familiarity
from .graphs import classify_graph_of
from .head import Head, fit, softmax
from .heatmap import FeatureMap
from .networks import FromPixels, Network, WithFeatureMap, has_feature_map, without_head
from .program import ProgramFiles, write_program
from .records import Records
from .splits import assign_folds, group_near_duplicates
from .stage import Model, Progress, Stage
from .tuner import Sides, Tuner
from .views import read_square, stored_side


class TunedModel(Model):
    """A network of its own, which every file has to contain."""

    @cached_property
    def from_pixels(self) -> FromPixels:
        return FromPixels(self.network, self.backbone.entry.preprocessing)

    def graph(self) -> onnx.ModelProto:
        return classify_graph_of(self.network, self.backbone.entry.preprocessing, self.backbone.entry.features)

    def write_program(self, path: Path, files: ProgramFiles) -> None:
        write_program(path, self.backbone.program, self.network, self.head, self.classes)

    def embed(self, rows: list[int], pictures: list[np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            embeddings = [self.from_pixels.embed(torch.from_numpy(pixels.copy())[None]) for pixels in pictures]
        return torch.cat(embeddings).double().numpy()

    def open_feature_map(self) -> FeatureMap | None:
        if not has_feature_map(self.network, self.from_pixels.side):
            return None
        features = FromPixels(WithFeatureMap(self.network), self.backbone.entry.preprocessing)

        def run(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            with torch.inference_mode():
                given, places = features.embed(torch.from_numpy(pixels.copy())[None])
                return given[0].numpy(), places[0].numpy()

        return run


@dataclass
class Rival:
    """The head that the network has to beat, from the same images, and how these are divided."""

    head: Head
    """Calibrated; from ``sides.learn``."""
    choice: Choice
    temperature: float
    groups: np.ndarray
    """int [N]: near-duplicates share a number."""
    folds: int
    sides: Sides


@dataclass
class Verdict:
    """How the network did on the images that judge."""

    is_better: bool
    probabilities: np.ndarray
    """[judging images, classes], calibrated."""
    temperature: float
    familiarity: np.ndarray
    prototypes: np.ndarray
    """Of the images that it learned from."""
    scores: dict[str, dict[str, float]]
    """``{"head": {loss, accuracy}, "network": …}``"""


@dataclass
class FineTuneStage(Stage):
    name = "fine-tune"
    needs = {"seconds": float, "checkpoint": Path}

    seconds: float
    """The most that it learns."""
    checkpoint: Path
    """Written after each epoch; where it exists, the run resumes from it."""

    def learn(self, records: Records, progress: Progress) -> TunedModel:
        progress.report("read", 0, None)
        records = self.read_pictures(records)
        progress.finish("read", 3)
        rival = self.train_rival(records)
        progress.finish("evaluate", 5)

        def on_epoch(share: float, seconds_left: float) -> None:
            progress.report("tune", 5 + 70 * share, seconds_left)

        with torch_threads(self.threads):
            tuner = Tuner(self.backbone, rival.head, records, self.seed)
            network = tuner.run(rival.sides, self.seconds, self.checkpoint, on_epoch)
            verdict = compare(tuner, network, rival, records)
            prototypes = verdict.prototypes
            if verdict.is_better:
                blocks, labels, classes = self.make_blocks(records.embeddings), records.labels, len(records.classes)
                shrinkage, level_weight = rival.choice.shrinkage, rival.choice.level_weight
                head = fit(blocks, labels, classes, shrinkage, level_weight).cooled(rival.temperature)
                network = tuner.learn_all(head, rival.sides, self.seconds, self.checkpoint, on_epoch)
                learned = self.make_blocks(tuner.logits(np.arange(len(labels)), without_head(network)))
                prototypes = find_prototypes(learned, labels, classes, level_weight)
        progress.finish("tune", 75)
        weight, bias = (values.detach().double().cpu().numpy() for values in network.head.parameters())
        # A GPU's order of the tensors in memory would be written into the files.
        network = without_head(network).to("cpu", memory_format=torch.contiguous_format)
        sides = {name: len(rows) for name, rows in vars(rival.sides).items()}
        return TunedModel(
            self.backbone,
            records,
            make_evaluation(verdict, rival, records.labels),
            Head(weight, bias).cooled(verdict.temperature),
            network,
            prototypes,
            verdict.is_better,
            {"fineTune": {"better": verdict.is_better, "images": sides, **verdict.scores, **tuner.describe()}},
        )

    def make_blocks(self, embeddings: np.ndarray) -> Blocks:
        return Blocks(embeddings, self.backbone.entry.is_level)

    def train_rival(self, records: Records) -> Rival:
        """Raises TooFewImages where a class has fewer than three images that are not alike."""
        blocks, labels, classes = self.make_blocks(records.embeddings), records.labels, len(records.classes)
        groups = group_near_duplicates(blocks.last_layer, labels, records.bursts)
        folds = assign_folds(labels, groups, classes, self.seed, leave_one_out=False)
        sides = divide(folds, labels)
        if sides is None:
            raise TooFewImages
        choice = choose(blocks, labels, classes, folds, sample_to_choose(labels, classes, self.seed))
        learned = blocks.rows(sides.learn), labels[sides.learn]
        head = fit(*learned, classes, choice.shrinkage, choice.level_weight)
        temperature = calibrate_on(head.logits(records.embeddings[sides.stop]), labels[sides.stop])
        return Rival(head.cooled(temperature), choice, temperature, groups, len(np.unique(folds)), sides)

    def read_pictures(self, records: Records) -> Records:
        """Keeps the records whose original can be decoded, with their pictures."""
        side = stored_side(self.backbone.entry.preprocessing.side)
        with ThreadPoolExecutor(self.threads) as pool:
            return records.with_pictures(side, partial(read_square, size=side), pool)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Lets torch compute with ``count`` threads, and afterwards as learn.py has it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def divide(folds: np.ndarray, labels: np.ndarray) -> Sides | None:
    """None where a class has too few images to learn from, to say when to stop, and to judge."""
    if any(len(np.unique(folds[labels == label])) < 3 for label in np.unique(labels)):
        return None
    return Sides(*(np.flatnonzero(side) for side in (folds > 1, folds == 1, folds == 0)))


def calibrate_on(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that is best for these images."""
    return calibrate(logits, labels, weigh_classes(labels, logits.shape[1]))[0]


def compare(tuner: Tuner, network: Network, rival: Rival, records: Records) -> Verdict:
    """Compares the network with its rival on the images that judge, which neither learned from."""
    labels, sides = records.labels, rival.sides
    temperature = calibrate_on(tuner.logits(sides.stop, network), labels[sides.stop])
    probabilities = softmax(tuner.logits(sides.judge, network) / temperature)
    rival_probabilities = softmax(rival.head.logits(records.embeddings[sides.judge]))
    own, other = (compute_losses(answers, labels[sides.judge]) for answers in (probabilities, rival_probabilities))
    scores = {
        name: {"loss": float(losses.mean()), "accuracy": compute_accuracy(answers, labels[sides.judge])}
        for name, losses, answers in (("head", other, rival_probabilities), ("network", own, probabilities))
    }
    embedding = without_head(network)
    learned = Blocks(tuner.logits(sides.learn, embedding), tuner.backbone.entry.is_level)
    prototypes = find_prototypes(learned, labels[sides.learn], len(records.classes), rival.choice.level_weight)
    is_ahead = scores["network"]["accuracy"] >= scores["head"]["accuracy"] and is_better(own, other)
    return Verdict(
        tuner.tuning.best_epoch > 0 and is_ahead,
        probabilities,
        temperature,
        measure_familiarity(tuner.logits(sides.judge, embedding), prototypes),
        prototypes,
        scores,
    )


def make_evaluation(verdict: Verdict, rival: Rival, labels: np.ndarray) -> Evaluation:
    judging = rival.sides.judge
    right = verdict.probabilities.argmax(axis=1) == labels[judging]
    return Evaluation(
        rival.choice.shrinkage,
        rival.choice.level_weight,
        verdict.temperature,
        choose_unknown_threshold(verdict.probabilities, right),
        choose_familiarity_threshold(verdict.familiarity, right),
        judging,
        verdict.probabilities,
        state_accuracy(right, rival.groups[judging], len(rival.sides.learn) / len(labels), "held-out", rival.folds),
        rival.groups,
        curve=[],
    )


def compute_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The negative log-likelihood of each image's class."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12))


def compute_accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def is_better(own: np.ndarray, rival: np.ndarray) -> bool:
    """Whether losses are less than a rival's by more than chance gives: by a standard error of their difference."""
    gain = rival - own
    return len(gain) > 1 and float(gain.mean()) > float(gain.std(ddof=1)) / math.sqrt(len(gain))
