"""The networks as torch modules: one of timm, or several that get the same picture, and the features that heads learn from.

The last layer alone loses what ImageNet's classes do not need, such as strokes, counts and textures. The last stages before the
pooling still have it, and one pooling each is all that they cost (9.9 ms a picture instead of 9.4 with EfficientNet-Lite0).
"""

import inspect
from copy import deepcopy
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from .backbone import Preprocessing, softsign

# Levels of a network: its last stages before the pooling, whose means and deviations are features; in an EfficientNet-Lite they
# are timm's blocks[3..6].
level_count = 4


class Network(nn.Module):
    """float32 [N, 3, side, side] -> features [N, features], or the logits [N, classes] of a linear head on them.

    The features are, of each network in turn, blocks of length 1: the softsign of its last layer's mean, then mean and deviation
    of each of its levels. Softsign keeps a few large activations from deciding alone, as square roots do (the Hellinger
    kernel: Arandjelović and Zisserman 2012, "Three things everyone should know to improve object retrieval"); it is as accurate,
    and it works for negative values too.

    It works for every architecture of timm that has ``forward_intermediates``. The EfficientNet family returns each of its blocks
    (``extra_blocks``), all others the stages that timm's ``feature_info`` lists.
    """

    def __init__(self, names: list[str], side: int, features: int = 0, classes: int = 0):
        """A network without weights; with ``classes`` 0 it gives features (their number is not needed then), else logits."""
        super().__init__()
        self.parts = nn.ModuleList(make_part(name, side) for name in names)
        self.head = nn.Linear(features, classes) if classes else nn.Identity()
        self.softsign = softsign
        # Arguments of ``forward_intermediates`` for each part.
        self.levels = [choose_levels(part) for part in self.parts]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.compute_features(x)[0])

    def compute_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """@returns the features, and the output of each part before its pooling."""
        blocks, outputs = [], []
        for part, levels in zip(self.parts, self.levels, strict=True):
            output, maps = part.forward_intermediates(x, **levels)
            # In mixed precision the features are computed in full precision.
            last = part.forward_head(output, pre_logits=True).float()
            blocks.append(normalize(last / (self.softsign + last.abs())))
            blocks += [normalize(pool_level(level.float())) for level in maps]
            outputs.append(output)
        return torch.cat(blocks, dim=1), outputs

    def describe_features(self) -> dict[str, Any]:
        """The description in ``model.pt``: plain values by which the features can be computed with torch and timm alone."""
        return {
            "order": "of each network: the last layer, then its levels",
            "last_layer": "x = forward_head(output, pre_logits=True); x / (softsign + |x|); divided by its length",
            "level": "mean, and 2 * mean(relu(x - mean)), over rows and columns; in a row; divided by their length",
            "softsign": self.softsign,
            "forward_intermediates": self.levels,
        }

    def follow_description(self, description: dict[str, Any]) -> None:
        self.softsign, self.levels = description["softsign"], description["forward_intermediates"]


def make_part(name: str, side: int, pretrained: bool = False) -> nn.Module:
    """timm's network ``name`` without its classifier; where its input has a fixed size, that becomes ``side``."""
    config = timm.get_pretrained_cfg(name)
    needs_side = config.fixed_input_size and config.input_size[-1] != side
    options = {"img_size": side} if needs_side else {}
    return timm.create_model(name, pretrained=pretrained, num_classes=0, **options)


def choose_levels(part: nn.Module) -> dict[str, Any]:
    """The arguments that make ``forward_intermediates`` of a network of timm return its levels."""
    has_blocks = "extra_blocks" in inspect.signature(part.forward_intermediates).parameters and hasattr(part, "blocks")
    count = len(part.blocks) + 1 if has_blocks else len(getattr(part, "feature_info", ())) or level_count
    options = {"extra_blocks": True} if has_blocks else {}
    return {"indices": min(level_count, count), "output_fmt": "NCHW", **options}


def pool_level(level: Tensor) -> Tensor:
    """Mean and mean absolute deviation over the places of a level [N, channels, rows, columns], in a row: [N, 2 * channels].

    Values above the mean and below it deviate by the same sum, so the deviation is twice the mean of ReLU(x - mean): operations
    that every format of a model has.
    """
    mean = level.mean(dim=(2, 3), keepdim=True)
    deviation = 2 * torch.relu(level - mean).mean(dim=(2, 3))
    return torch.cat([mean.flatten(1), deviation], dim=1)


def without_head(network: Network) -> Network:
    """A copy of a network that gives features."""
    copy = deepcopy(network)
    copy.head = nn.Identity()
    return copy


class WithFeatureMap(nn.Module):
    """float32 [N, 3, side, side] -> features, and the feature map [N, channels, rows, columns].

    The feature map has the channels of all parts in a row; its mean over rows and columns is what softsign gets of each.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features, maps = self.network.compute_features(x)
        return features, torch.cat(maps, dim=1)


def has_feature_map(network: Network, side: int) -> bool:
    """Whether each part's last layer is the mean of a feature map, and all maps have one size; tried with noise."""
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = network.compute_features(noise)[1]
        shapes = {tuple(output.shape[2:]) for output in maps}
        if len(shapes) > 1 or len(next(iter(shapes))) != 2:
            return False
        means = [part.forward_head(output, pre_logits=True) for part, output in zip(network.parts, maps, strict=True)]
        return all(
            mean.shape[1] == output.shape[1] and torch.allclose(output.mean((2, 3)), mean, atol=1e-4)
            for mean, output in zip(means, maps, strict=True)
        )


class Preprocess(nn.Module):
    """Pixels as planes [N, 3, H, W], of any type and size -> a network's input, float32 [N, 3, side, side]."""

    def __init__(self, preprocessing: Preprocessing):
        super().__init__()
        self.side = preprocessing.side
        # They are not persistent, for model.pt has them beside its weights.
        for name in ("mean", "scale"):
            values = torch.tensor(getattr(preprocessing, name), dtype=torch.float32)
            self.register_buffer(name, values.view(3, 1, 1), persistent=False)

    def resize(self, planes: Tensor) -> Tensor:
        return interpolate(planes.float(), size=(self.side, self.side), mode="bilinear", antialias=True)

    def normalise(self, resized: Tensor) -> Tensor:
        return (resized - self.mean) / self.scale

    def forward(self, planes: Tensor) -> Tensor:
        return self.normalise(self.resize(planes))


class FromPixels(Preprocess):
    """uint8 RGB [N, H, W, 3] of any size -> probabilities [N, classes]: what the ONNX graph computes, in torch."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing):
        super().__init__(preprocessing)
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.embed(pixels).softmax(dim=1)

    def embed(self, pixels: Tensor) -> Tensor:
        """The network's output: logits, or features where it has no head."""
        return self.network(super().forward(pixels.permute(0, 3, 1, 2)))
