"""The networks as torch modules: one of timm's, or several that look at the same picture."""

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

Channels = tuple[float, float, float]


def per_channel(values: Channels) -> Tensor:
    """float32 [3, 1, 1], for planes."""
    return torch.tensor(values, dtype=torch.float32).view(3, 1, 1)


class Joined(nn.Module):
    """float32 [N, 3, side, side] -> the embeddings of all parts, each of length 1, one after the other; or a head's logits."""

    def __init__(self, names: list[str], classes: int, side: int):
        super().__init__()
        self.parts = nn.ModuleList(make_part(name, 0, side) for name in names)
        features = sum(part.head_hidden_size for part in self.parts)
        self.classifier = nn.Linear(features, classes) if classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """As timm's networks have it."""
        return self.classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.cat([normalize(part(x)) for part in self.parts], dim=1))


def make_network(names: list[str], classes: int, side: int) -> nn.Module:
    """Without weights, for pictures of ``side`` x ``side``; with ``classes`` 0 it gives embeddings."""
    return make_part(names[0], classes, side) if len(names) == 1 else Joined(names, classes, side)


def make_part(name: str, classes: int, side: int, pretrained: bool = False) -> nn.Module:
    """timm's own; one that has a fixed size of pictures is told ``side`` where that is another."""
    told = timm.get_pretrained_cfg(name)
    other = told.fixed_input_size and told.input_size[-1] != side
    return timm.create_model(name, pretrained=pretrained, num_classes=classes, **({"img_size": side} if other else {}))


def classifier_name(network: nn.Module) -> str:
    """Of its last layer, which timm's architectures name differently: the way to it, such as ``head.fc``."""
    last = network.get_classifier()
    return next(name for name, module in network.named_modules() if module is last)


def networks_of(network: nn.Module) -> list[nn.Module]:
    """Those of timm that it is made of."""
    return list(network.parts) if isinstance(network, Joined) else [network]


class FromPixels(nn.Module):
    """uint8 RGB [N, H, W, 3] of any size -> probabilities [N, classes]: what the ONNX graph does, in torch."""

    def __init__(self, network: nn.Module, side: int, mean: Channels, scale: Channels):
        super().__init__()
        self.network, self.side = network, side
        # Not among the weights: model.pt has them beside.
        self.register_buffer("mean", per_channel(mean), persistent=False)
        self.register_buffer("scale", per_channel(scale), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.embed(pixels).softmax(dim=1)

    def embed(self, pixels: Tensor) -> Tensor:
        """What the network gives: logits, or embeddings where it has no head."""
        planes = pixels.permute(0, 3, 1, 2).float()
        resized = interpolate(planes, size=(self.side, self.side), mode="bilinear", antialias=True)
        return self.network((resized - self.mean) / self.scale)
