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


class WithPlaces(nn.Module):
    """float32 [N, 3, side, side] -> embeddings, and what is seen at each place [N, features, rows, columns], their mean."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = [part.forward_features(x) for part in networks_of(self.network)]
        embedded = [part.forward_head(one) for part, one in zip(networks_of(self.network), seen, strict=True)]
        if isinstance(self.network, Joined):
            lengths = [one.norm(dim=1, keepdim=True) for one in embedded]
            embedded = [one / length for one, length in zip(embedded, lengths, strict=True)]
            seen = [one / length[:, :, None, None] for one, length in zip(seen, lengths, strict=True)]
        return torch.cat(embedded, dim=1), torch.cat(seen, dim=1)


def has_places(network: nn.Module, side: int) -> bool:
    """Whether the embedding, of a network without a head, is the mean of what it sees at each place."""
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        shapes = {tuple(part.forward_features(noise).shape[2:]) for part in networks_of(network)}
        if len(shapes) > 1 or len(next(iter(shapes))) != 2:
            return False
        embedded, seen = WithPlaces(network)(noise)
        return seen.shape[1] == embedded.shape[1] and torch.allclose(seen.mean(dim=(2, 3)), embedded, atol=1e-4)


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
