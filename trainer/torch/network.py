"""The networks as torch modules: one of timm's, or several that look at the same picture."""

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize


class Joined(nn.Module):
    """float32 [N, 3, side, side] -> the embeddings of all parts, each of length 1, one after the other; or a head's logits."""

    def __init__(self, names: list[str], classes: int = 0):
        super().__init__()
        self.parts = nn.ModuleList(timm.create_model(name, pretrained=False, num_classes=0) for name in names)
        features = sum(part.num_features for part in self.parts)
        self.classifier = nn.Linear(features, classes) if classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.cat([normalize(part(x)) for part in self.parts], dim=1))


def make_network(names: list[str], classes: int = 0) -> nn.Module:
    """Without weights; with ``classes`` 0 it gives embeddings. Its last layer is ``classifier``."""
    if len(names) == 1:
        return timm.create_model(names[0], pretrained=False, num_classes=classes)
    return Joined(names, classes)


def networks_of(network: nn.Module) -> list[nn.Module]:
    """Those of timm that it is made of."""
    return list(network.parts) if isinstance(network, Joined) else [network]


class FromPixels(nn.Module):
    """uint8 RGB [N, H, W, 3] of any size -> probabilities [N, classes]: what the ONNX graph does, in torch."""

    def __init__(self, network: nn.Module, side: int, mean: float, scale: float):
        super().__init__()
        self.network, self.side, self.mean, self.scale = network, side, mean, scale

    def forward(self, pixels: Tensor) -> Tensor:
        return self.embed(pixels).softmax(dim=1)

    def embed(self, pixels: Tensor) -> Tensor:
        """What the network gives: logits, or embeddings where it has no head."""
        planes = pixels.permute(0, 3, 1, 2).float()
        resized = interpolate(planes, size=(self.side, self.side), mode="bilinear", antialias=True)
        return self.network((resized - self.mean) / self.scale)
