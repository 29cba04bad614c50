"""Stage ``fine-tune``: the network itself, from the head's solution, and whether that is better on pictures held out.

Groups of near-duplicates stay on one side of three: most pictures are learned from, one fold says when to stop, one judges
between the network and a head that learned from the same pictures. If the network wins it learns once more, from all of
them: three fifths are too few to be ahead of a head that has them all. On breeds of cats, 12 epochs of all pictures were 4
points ahead of it with 25 a class and 1 to 2 with 50; on cats and dogs, and with 10 a class, neither was ahead.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from .backbone import Backbone, load_network
from .errors import BadInput, OutOfMemory
from .head import Head
from .images import open_picture
from .network import classifier_name, networks_of, per_channel

# Pictures are kept a little larger than the network takes them: a part of one is still sharp.
margin = 1.15
batch_size = {"cuda": 32, "cpu": 8}
most_epochs = {"cuda": 12, "cpu": 8}
# Epochs without a better one after which it ends.
patience = 6
# Of the newest layers; each stage below learns by this share of the one above (Howard and Ruder 2018).
rate, rate_below = 1e-4, 0.6
head_rate = 3e-4
weight_decay = 0.02
# Of the time, for the part of the pictures that is judged; to learn from all of them for as many epochs takes the rest.
first_share = 3 / 8
# Of the average of weights (Polyak and Juditsky 1992), reached slowly so that the start does not weigh on it.
average = 0.98


@dataclass
class Tuning:
    """What a run knows after an epoch; all of it is in the checkpoint."""

    epoch: int = 0
    batch: int = 8
    best: float = math.inf
    """Least loss on the pictures that say when to stop."""
    best_epoch: int = 0
    whole: int = 0
    """Epochs of learning from all pictures, which follows; then ``network`` and ``averaged`` are those of that."""
    whole_of: int = 0
    seconds: float = 0.0
    resumed: int = 0
    """Times that another worker went on with it."""
    curve: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Sides:
    """Rows of the pictures."""

    learn: np.ndarray
    stop: np.ndarray
    judge: np.ndarray


def divide(folds: np.ndarray) -> Sides | None:
    """None where there are too few pictures to learn from, to say when to stop, and to judge."""
    if len(np.unique(folds)) < 3:
        return None
    return Sides(*(np.flatnonzero(one) for one in (folds > 1, folds == 1, folds == 0)))


def read_pictures(paths: list[Path], side: int, threads: int) -> Tensor:
    """uint8 [N, 3, S, S], on the CPU: whole pictures, squashed to a square as everywhere."""
    size = round(side * margin)

    def read(path: Path) -> np.ndarray:
        pixels = Image.fromarray(open_picture(path, 1_000_000_000).pixels)
        return np.asarray(pixels.resize((size, size), Image.Resampling.BILINEAR))

    with ThreadPoolExecutor(threads) as pool:
        return torch.from_numpy(np.stack(list(pool.map(read, paths)))).permute(0, 3, 1, 2).contiguous()


def vary(images: Tensor, side: int, randomness: torch.Generator) -> Tensor:
    """float [N, 3, side, side] of 0 to 255: other places, sizes, turns and light, each picture its own.

    As a hand holds a toy before a camera. Not mirrored: a learner may teach left and right.
    """
    count, device = len(images), images.device

    def between(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=randomness).to(device) * (high - low) + low

    turn, zoom, stretch = between(-0.26, 0.26), between(0.7, 1.05), between(0.9, 1.1)
    shift = (1 - zoom.clamp(max=1))[:, None] * between(-1, 1, 2)
    rows = [zoom * stretch * turn.cos(), -zoom * turn.sin(), shift[:, 0]]
    rows += [zoom * turn.sin(), zoom / stretch * turn.cos(), shift[:, 1]]
    grid = affine_grid(torch.stack(rows, 1).view(count, 2, 3), [count, 3, side, side], align_corners=False)
    seen = grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
    grey = seen.mean((1, 2, 3), keepdim=True)
    seen = (seen - grey) * between(0.7, 1.3, 1, 1, 1) + grey * between(0.7, 1.3, 1, 1, 1)
    colourless = seen.mean(1, keepdim=True)
    seen = (seen - colourless) * between(0.6, 1.4, 1, 1, 1) + colourless
    return (seen * between(0.92, 1.08, 3, 1, 1)).clamp(0, 255)


def plain(images: Tensor, side: int) -> Tensor:
    return nn.functional.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True)


class FineTune:
    """One run: what is learned, by epochs, with a checkpoint after each."""

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        images: Tensor,
        labels: np.ndarray,
        device: str,
        seed: int,
        cache: Path | None = None,
    ):
        self.backbone, self.images, self.device, self.seed, self.cache = backbone, images, device, seed, cache
        self.labels = torch.from_numpy(labels)
        self.mean, self.scale = (per_channel(one) for one in (backbone.mean, backbone.scale))
        self.precision = precision_of(device)
        self.tuning = Tuning(batch=batch_size[device])
        share = np.bincount(labels, minlength=len(head.bias)).astype(np.float32)
        self.weight = torch.from_numpy(share.mean() / np.maximum(share, 1)).float().to(device)
        self.begin(head)
        self.best = {name: tensor.clone() for name, tensor in self.averaged.state_dict().items()}

    def begin(self, head: Head) -> None:
        """The pretrained network with this head on top."""
        network = load_network(self.backbone, len(head.bias), self.cache)
        with torch.no_grad():
            network.get_classifier().weight.copy_(torch.from_numpy(head.weight))
            network.get_classifier().bias.copy_(torch.from_numpy(head.bias))
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.averaged = deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(rates(self.network), weight_decay=weight_decay)
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.precision is torch.float16)

    def run(self, sides: Sides, seconds: float, checkpoint: Path, told: Callable[[float, float], None]) -> nn.Module:
        """Epochs until it gets no better or its share of the time is over; ``told`` hears the share done and the seconds left.

        A file at ``checkpoint`` is where another worker left off. @returns the network of the best epoch.
        """
        if checkpoint.exists():
            self.load(checkpoint)
        most, tuning = most_epochs[self.device], self.tuning
        if not tuning.curve:
            tuning.best, right = self.judge(sides.stop)
            tuning.curve.append({"epoch": 0, "seconds": 0.0, "loss": tuning.best, "accuracy": right})

        def goes_on() -> bool:
            gets_better = tuning.epoch - tuning.best_epoch < patience
            return tuning.epoch < most and gets_better and tuning.seconds < first_share * seconds

        while tuning.whole == 0 and goes_on():
            began = time.perf_counter()
            learned = self.epoch_in_memory(tuning.epoch, sides.learn, most)
            loss, right = self.judge(sides.stop)
            tuning.epoch += 1
            tuning.seconds += time.perf_counter() - began
            if loss < tuning.best:
                tuning.best, tuning.best_epoch = loss, tuning.epoch
                self.best = {name: tensor.clone() for name, tensor in self.averaged.state_dict().items()}
            point = {"epoch": tuning.epoch, "seconds": round(tuning.seconds, 2), "learned": learned, "loss": loss}
            tuning.curve.append(point | {"accuracy": right})
            self.save(checkpoint)
            done = max(tuning.epoch / most, tuning.seconds / (first_share * seconds))
            each = tuning.seconds / tuning.epoch
            told(first_share * min(1, done), min(seconds - tuning.seconds, each * (most / first_share - tuning.epoch)))
        judged = deepcopy(self.averaged)
        judged.load_state_dict(self.best)
        return judged

    def learn_all(
        self, head: Head, sides: Sides, seconds: float, checkpoint: Path, told: Callable[[float, float], None]
    ) -> nn.Module:
        """From the start, with the head of all pictures, from all of them, in as many epochs as the rest of the time allows.

        A checkpoint that ``run`` loaded may be in the midst of it. @returns the network.
        """
        tuning, rows = self.tuning, np.arange(len(self.labels))
        if tuning.whole == 0:
            each = tuning.seconds / max(1, tuning.epoch) * len(rows) / len(sides.learn)
            tuning.whole_of = min(most_epochs[self.device], max(1, int((seconds - tuning.seconds) / max(each, 1e-9))))
            self.begin(head)
        while tuning.whole < tuning.whole_of:
            began = time.perf_counter()
            self.epoch_in_memory(tuning.whole, rows, tuning.whole_of)
            tuning.whole += 1
            took = time.perf_counter() - began
            tuning.seconds += took
            self.save(checkpoint)
            done = first_share + (1 - first_share) * tuning.whole / tuning.whole_of
            told(done, took * (tuning.whole_of - tuning.whole))
        return self.averaged

    def epoch_in_memory(self, number: int, rows: np.ndarray, most: int) -> float:
        """An epoch with the largest batch that the memory holds. @raises OutOfMemory when two pictures are too many."""
        while True:
            try:
                return self.epoch(number, rows, most)
            except torch.cuda.OutOfMemoryError as error:
                if self.tuning.batch <= 2:
                    raise OutOfMemory("The GPU's memory does not hold two pictures and the network.") from error
                self.tuning.batch //= 2
                self.optimizer.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()

    def epoch(self, epoch: int, rows: np.ndarray, most: int) -> float:
        """The ``epoch``-th from 0 of at most ``most``. @returns the mean loss of what was learned from."""
        # Of the epoch alone, so that whoever goes on with it does the same.
        randomness = torch.Generator().manual_seed(self.seed * 1000 + epoch)
        # Statistics of batches of a few pictures are worse than those that came with the network.
        self.network.eval()
        batches = torch.from_numpy(rows)[torch.randperm(len(rows), generator=randomness)].split(self.tuning.batch)
        losses = []
        for number, some in enumerate(batches):
            step = epoch * len(batches) + number
            for group in self.optimizer.param_groups:
                group["lr"] = group["top"] * pace(step, len(batches), most)
            given = self.prepare(vary(self.images[some].to(self.device), self.backbone.side, randomness))
            with self.autocast():
                loss = cross_entropy(self.network(given).float(), self.labels[some].to(self.device), self.weight)
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            keep = min(average, (1 + step) / (10 + step))
            with torch.no_grad():
                for kept, now in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                    kept.lerp_(now, 1 - keep)
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def prepare(self, images: Tensor) -> Tensor:
        mean, scale = self.mean.to(images.device), self.scale.to(images.device)
        return ((images - mean) / scale).contiguous(memory_format=torch.channels_last)

    def autocast(self):
        return torch.autocast(self.device, dtype=self.precision or torch.bfloat16, enabled=self.precision is not None)

    def logits(self, rows: np.ndarray, network: nn.Module) -> np.ndarray:
        """float64 [rows, classes], or embeddings of a network without its last layer; in full precision as the files compute."""
        with torch.inference_mode():
            parts = [
                network(self.prepare(plain(self.images[some].to(self.device), self.backbone.side))).cpu()
                for some in torch.from_numpy(rows).split(batch_size[self.device])
            ]
        return torch.cat(parts).double().numpy()

    def judge(self, rows: np.ndarray) -> tuple[float, float]:
        """Loss and accuracy."""
        logits, labels = torch.from_numpy(self.logits(rows, self.averaged)), self.labels[rows]
        return float(cross_entropy(logits, labels)), float((logits.argmax(1) == labels).double().mean())

    def save(self, path: Path) -> None:
        """Complete or not at all; plain tensors and values only."""
        state = {
            "format": 1,
            "backbone": self.backbone.name,
            "tuning": vars(self.tuning),
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save(state, file)
        partial.rename(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True, map_location=self.device)
        if state["format"] != 1 or state["backbone"] != self.backbone.name:
            raise BadInput(f"{path} is a checkpoint of {state['backbone']}, format {state['format']}.")
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.best = state["best"]
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.tuning = Tuning(**state["tuning"])
        self.tuning.resumed += 1

    def described(self) -> dict[str, Any]:
        precision = str(self.precision or torch.float32).removeprefix("torch.")
        tuning = self.tuning
        told = {
            "epochs": tuning.epoch,
            "bestEpoch": tuning.best_epoch,
            "wholeEpochs": tuning.whole,
            "batch": tuning.batch,
            "resumed": tuning.resumed,
        }
        told |= {"seconds": round(tuning.seconds, 2), "device": self.device, "precision": precision}
        return told | {"curve": tuning.curve}


def without_head(network: nn.Module) -> nn.Module:
    """A copy that gives embeddings, other ones than the backbone's."""
    embedding = deepcopy(network)
    embedding.set_submodule(classifier_name(embedding), nn.Identity())
    return embedding


def is_better(own: np.ndarray, rival: np.ndarray) -> bool:
    """Whether losses of pictures are less than a rival's by more than chance gives: by a standard error of their difference."""
    gain = rival - own
    return len(gain) > 1 and float(gain.mean()) > float(gain.std(ddof=1)) / math.sqrt(len(gain))


def pace(step: int, steps_of_epoch: int, most: int) -> float:
    """The share of the top rate: up during the first epoch, down as a cosine to the last."""
    if step < steps_of_epoch:
        return (step + 1) / steps_of_epoch
    return 0.5 + 0.5 * math.cos(math.pi * step / (steps_of_epoch * most))


def precision_of(device: str) -> torch.dtype | None:
    """None is full precision."""
    if device != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def rates(network: nn.Module) -> list[dict[str, Any]]:
    """Parameters with their top rate: the last layer's, and less for each stage below.

    timm tells the stages; however many there are, the rates at both ends are those that were good for EfficientNet's nine.
    """
    last = network.get_classifier()
    groups = [{"params": list(last.parameters()), "lr": head_rate, "top": head_rate}]
    head = {id(parameter) for parameter in last.parameters()}
    for part in networks_of(network):
        named = dict(part.named_parameters())
        layers = timm.models.group_parameters(part, part.group_matcher(coarse=True))
        stages = [[named[name] for name in layers[layer] if id(named[name]) not in head] for layer in sorted(layers)]
        stages = [stage for stage in stages if stage]
        step = rate_below ** (8 / max(1, len(stages) - 1))
        for height, parameters in enumerate(reversed(stages)):
            top = rate * step**height
            groups.append({"params": parameters, "lr": top, "top": top})
    return groups
