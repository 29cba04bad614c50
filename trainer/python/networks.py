"""The networks as torch modules: a network of timm, or several that get the same picture."""

from copy import deepcopy

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from .backbone import Preprocessing


class Joined(nn.Module):
    """float32 [N, 3, side, side] -> the embeddings of all parts, each of length 1, in a row; or the logits of a head."""

    def __init__(self, names: list[str], classes: int, side: int):
        super().__init__()
        self.parts = nn.ModuleList(make_part(name, 0, side) for name in names)
        features = sum(part.head_hidden_size for part in self.parts)
        self.classifier = nn.Linear(features, classes) if classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The last layer, by the name that timm's networks use."""
        return self.classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.cat([normalize(part(x)) for part in self.parts], dim=1))


def make_network(names: list[str], classes: int, side: int) -> nn.Module:
    """A network without weights, for pictures of ``side`` x ``side``; with ``classes`` 0 it gives embeddings, else logits."""
    return make_part(names[0], classes, side) if len(names) == 1 else Joined(names, classes, side)


def make_part(name: str, classes: int, side: int, pretrained: bool = False) -> nn.Module:
    """timm's network ``name``; where its input has a fixed size, that becomes ``side``."""
    config = timm.get_pretrained_cfg(name)
    needs_side = config.fixed_input_size and config.input_size[-1] != side
    options = {"img_size": side} if needs_side else {}
    return timm.create_model(name, pretrained=pretrained, num_classes=classes, **options)


def classifier_name(network: nn.Module) -> str:
    """The path of the last layer, such as ``head.fc``: timm's architectures name it differently."""
    last = network.get_classifier()
    return next(name for name, module in network.named_modules() if module is last)


def without_head(network: nn.Module) -> nn.Module:
    """A copy of a network with a head that gives embeddings."""
    embedding = deepcopy(network)
    embedding.set_submodule(classifier_name(embedding), nn.Identity())
    return embedding


def parts_of(network: nn.Module) -> list[nn.Module]:
    """The networks of timm that a network consists of."""
    return list(network.parts) if isinstance(network, Joined) else [network]


class WithFeatureMap(nn.Module):
    """float32 [N, 3, side, side] -> embeddings [N, features], and the feature map [N, features, rows, columns].

    The embedding is the mean of the feature map over rows and columns.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        parts = parts_of(self.network)
        maps = [part.forward_features(x) for part in parts]
        embedded = [part.forward_head(features) for part, features in zip(parts, maps, strict=True)]
        if isinstance(self.network, Joined):
            lengths = [embedding.norm(dim=1, keepdim=True) for embedding in embedded]
            embedded = [embedding / length for embedding, length in zip(embedded, lengths, strict=True)]
            maps = [features / length[:, :, None, None] for features, length in zip(maps, lengths, strict=True)]
        return torch.cat(embedded, dim=1), torch.cat(maps, dim=1)


def has_feature_map(network: nn.Module, side: int) -> bool:
    """Whether the embedding, of a network without a head, is the mean of a feature map; tried with noise."""
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        shapes = {tuple(part.forward_features(noise).shape[2:]) for part in parts_of(network)}
        if len(shapes) > 1 or len(next(iter(shapes))) != 2:
            return False
        embedded, features = WithFeatureMap(network)(noise)
        return features.shape[1] == embedded.shape[1] and torch.allclose(features.mean((2, 3)), embedded, atol=1e-4)


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
        """The network's output: logits, or embeddings where it has no head."""
        return self.network(super().forward(pixels.permute(0, 3, 1, 2)))
