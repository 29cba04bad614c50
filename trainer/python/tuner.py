"""Learns the network itself by epochs, from the solution of a head, with a checkpoint after each (fine_tune_stage.py)."""

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .errors import BadInput, OutOfMemory
from .head import Head
from .learning_rates import group_by_rate, pace
from .networks import Network, Preprocess
from .prepared import PreparedBackbone
from .records import Records
from .views import vary

batch_size = {"cuda": 32, "cpu": 8}
most_epochs = {"cuda": 12, "cpu": 8}
# Epochs without a better one after which learning ends.
patience = 6
weight_decay = 0.02
# The share of the time for the images that are judged; learning from all of them for as many epochs takes the rest.
first_share = 3 / 8
# The decay of the average of weights (Polyak and Juditsky 1992), reached slowly so that the start has little weight in it.
average = 0.98
# Raised with every change of what a checkpoint holds.
checkpoint_format = 2


@dataclass
class Tuning:
    """What a run knows after an epoch; all of it is in the checkpoint."""

    epoch: int = 0
    batch: int = 8
    best: float = math.inf
    """The least loss on the images that say when to stop."""
    best_epoch: int = 0
    whole: int = 0
    """Epochs of learning from all images, which follows; then ``network`` and ``averaged`` of the checkpoint are of that."""
    whole_of: int = 0
    seconds: float = 0.0
    resumed: int = 0
    """How often another worker resumed it."""
    curve: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Sides:
    """The rows that are learned from, that say when to stop, and that judge."""

    learn: np.ndarray
    stop: np.ndarray
    judge: np.ndarray


OnEpoch = Callable[[float, float], None]
"""Is called after each epoch with the share that is done and the seconds left."""


class Tuner:
    """One run over records ``with_pictures``."""

    def __init__(self, backbone: PreparedBackbone, head: Head, records: Records, seed: int):
        self.backbone, self.device, self.seed = backbone, backbone.device, seed
        self.images = torch.from_numpy(records.pictures).permute(0, 3, 1, 2)
        self.labels = torch.from_numpy(records.labels)
        self.preprocess = Preprocess(backbone.entry.preprocessing).to(self.device)
        self.precision = choose_precision(self.device)
        self.tuning = Tuning(batch=batch_size[self.device])
        share = np.bincount(records.labels, minlength=len(head.bias)).astype(np.float32)
        self.weight = torch.from_numpy(share.mean() / np.maximum(share, 1)).float().to(self.device)
        self.begin(head)
        self.best = copy_weights(self.averaged)

    def begin(self, head: Head) -> None:
        """Starts from the pretrained network with this head on top."""
        network = self.backbone.load_network(len(head.bias))
        with torch.no_grad():
            network.head.weight.copy_(torch.from_numpy(head.weight))
            network.head.bias.copy_(torch.from_numpy(head.bias))
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.averaged = deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(group_by_rate(self.network), weight_decay=weight_decay)
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.precision is torch.float16)

    def run(self, sides: Sides, seconds: float, checkpoint: Path, on_epoch: OnEpoch) -> Network:
        """Learns by epochs until it gets no better or its share of the time is over.

        A file at ``checkpoint`` is where another worker left off. @returns the network of the best epoch.
        """
        if checkpoint.exists():
            self.load(checkpoint)
        most, tuning = most_epochs[self.device], self.tuning
        if not tuning.curve:
            tuning.best, accuracy = self.judge(sides.stop)
            tuning.curve.append({"epoch": 0, "seconds": 0.0, "loss": tuning.best, "accuracy": accuracy})

        def goes_on() -> bool:
            gets_better = tuning.epoch - tuning.best_epoch < patience
            return tuning.epoch < most and gets_better and tuning.seconds < first_share * seconds

        while tuning.whole == 0 and goes_on():
            began = time.perf_counter()
            learned = self.run_epoch_in_memory(tuning.epoch, sides.learn, most)
            loss, accuracy = self.judge(sides.stop)
            tuning.epoch += 1
            tuning.seconds += time.perf_counter() - began
            if loss < tuning.best:
                tuning.best, tuning.best_epoch = loss, tuning.epoch
                self.best = copy_weights(self.averaged)
            point = {"epoch": tuning.epoch, "seconds": round(tuning.seconds, 2), "learned": learned, "loss": loss}
            tuning.curve.append(point | {"accuracy": accuracy})
            self.save(checkpoint)
            done = max(tuning.epoch / most, tuning.seconds / (first_share * seconds))
            each = tuning.seconds / tuning.epoch
            left = min(seconds - tuning.seconds, each * (most / first_share - tuning.epoch))
            on_epoch(first_share * min(1, done), left)
        judged = deepcopy(self.averaged)
        judged.load_state_dict(self.best)
        return judged

    def learn_all(self, head: Head, sides: Sides, seconds: float, checkpoint: Path, on_epoch: OnEpoch) -> Network:
        """Learns from the start, with the head of all images, from all of them, in as many epochs as the rest of the time allows.

        A checkpoint that ``run`` loaded may be in the midst of it. @returns the network.
        """
        tuning, rows = self.tuning, np.arange(len(self.labels))
        if tuning.whole == 0:
            each = tuning.seconds / max(1, tuning.epoch) * len(rows) / len(sides.learn)
            tuning.whole_of = min(most_epochs[self.device], max(1, int((seconds - tuning.seconds) / max(each, 1e-9))))
            self.begin(head)
        while tuning.whole < tuning.whole_of:
            began = time.perf_counter()
            self.run_epoch_in_memory(tuning.whole, rows, tuning.whole_of)
            tuning.whole += 1
            took = time.perf_counter() - began
            tuning.seconds += took
            self.save(checkpoint)
            done = first_share + (1 - first_share) * tuning.whole / tuning.whole_of
            on_epoch(done, took * (tuning.whole_of - tuning.whole))
        return self.averaged

    def run_epoch_in_memory(self, number: int, rows: np.ndarray, most: int) -> float:
        """Runs an epoch with the largest batch that the memory holds. Raises OutOfMemory when two images are too many."""
        while True:
            try:
                return self.run_epoch(number, rows, most)
            except torch.cuda.OutOfMemoryError as error:
                if self.tuning.batch <= 2:
                    raise OutOfMemory from error
                self.tuning.batch //= 2
                self.optimizer.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()

    def run_epoch(self, epoch: int, rows: np.ndarray, most: int) -> float:
        """Runs the ``epoch``-th from 0 of at most ``most``. @returns the mean loss of the images that it learned from."""
        # It depends on the epoch alone, so that a worker that resumes the run computes the same.
        randomness = torch.Generator().manual_seed(self.seed * 1000 + epoch)
        # Statistics of batches of a few pictures are worse than those that came with the network.
        self.network.eval()
        batches = torch.from_numpy(rows)[torch.randperm(len(rows), generator=randomness)].split(self.tuning.batch)
        losses = []
        for number, batch in enumerate(batches):
            step = epoch * len(batches) + number
            for group in self.optimizer.param_groups:
                group["lr"] = group["top"] * pace(step, len(batches), most)
            views = self.normalise(vary(self.load_images(batch), self.preprocess.side, randomness))
            with self.autocast():
                loss = cross_entropy(self.network(views).float(), self.labels[batch].to(self.device), self.weight)
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            decay = min(average, (1 + step) / (10 + step))
            with torch.no_grad():
                for mean, latest in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                    mean.lerp_(latest, 1 - decay)
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def load_images(self, rows: Tensor) -> Tensor:
        """uint8 [N, 3, S, S], on the device"""
        return self.images[rows].contiguous().to(self.device)

    def normalise(self, images: Tensor) -> Tensor:
        return self.preprocess.normalise(images).contiguous(memory_format=torch.channels_last)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=self.precision or torch.bfloat16, enabled=self.precision is not None)

    def logits(self, rows: np.ndarray, network: Network) -> np.ndarray:
        """float64 [rows, classes], or features of a network without a head; in full precision as the files compute."""
        with torch.inference_mode():
            batches = [
                network(self.normalise(self.preprocess.resize(self.load_images(batch)))).cpu()
                for batch in torch.from_numpy(rows).split(batch_size[self.device])
            ]
        return torch.cat(batches).double().numpy()

    def judge(self, rows: np.ndarray) -> tuple[float, float]:
        """@returns loss and accuracy of the averaged network."""
        logits, labels = torch.from_numpy(self.logits(rows, self.averaged)), self.labels[rows]
        return float(cross_entropy(logits, labels)), float((logits.argmax(1) == labels).double().mean())

    def save(self, path: Path) -> None:
        """Writes a checkpoint, complete or not at all; plain tensors and values only."""
        state = {
            "format": checkpoint_format,
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
        """Resumes from a checkpoint; does nothing where it has another format. Raises BadInput for one of another backbone."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        if state["format"] != checkpoint_format:
            return
        if state["backbone"] != self.backbone.name:
            raise BadInput(
                f"Expected a checkpoint of {self.backbone.name}; {path} is one of {state['backbone']}: delete it."
            )
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.best = state["best"]
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.tuning = Tuning(**state["tuning"])
        self.tuning.resumed += 1

    def describe(self) -> dict[str, Any]:
        """How it was learned, for the report's ``fineTune``."""
        tuning = self.tuning
        return {
            "epochs": tuning.epoch,
            "bestEpoch": tuning.best_epoch,
            "wholeEpochs": tuning.whole,
            "batch": tuning.batch,
            "resumed": tuning.resumed,
            "seconds": round(tuning.seconds, 2),
            "device": self.device,
            "precision": str(self.precision or torch.float32).removeprefix("torch."),
            "curve": tuning.curve,
        }


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def choose_precision(device: str) -> torch.dtype | None:
    """None is full precision."""
    if device != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
