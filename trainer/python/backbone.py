"""The pretrained networks, from what functions/shared/backbones.json says of them: adding one is an entry there.

An entry has a ``name``; ``parts``, each with its name in ``timm`` and the number of its ``features``; the ``side`` of the square
that a picture is resized to, in pixels; ``mean`` and ``scale`` of red, green and blue, in pixels (timm's mean and std times
255): the network takes (pixel - mean) / scale; the ``license`` of its weights (an SPDX name; one with NC in it forbids
commercial use) and their ``megabytes``. ``words``, where it has some, names what the page says of it.

Weights of a part come from the locked ``package`` that it names (``file``: the class there that tells where they lie), else by
timm (weights.py). Any other model of timm is ``timm/NAME``, which needs no entry: timm says the rest.

Two that look at the same picture see more than one: on breeds of cats lite0 and lite2 are about 3 points better than lite0 with
50 pictures a class, 1 to 1.5 with 10 or 25 (README), at three times its time.
"""

import importlib.metadata
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadInput

if TYPE_CHECKING:
    import torch

# Of what prepare.py makes: raised with every change there, so that no older file in a cache is taken for a new one.
graphs_version = 5

root = Path(__file__).parents[2]
# Before the name of a model of timm that has no entry.
from_timm = "timm/"


@dataclass(frozen=True)
class Part:
    """A pretrained network; a backbone is one of them, or several that look at the same picture."""

    timm: str
    """Its definition in timm."""
    features: int
    package: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class Backbone:
    name: str
    parts: tuple[Part, ...]
    """Where there are several, an embedding is theirs one after the other, each of length 1: none outweighs another."""
    side: int
    """Pixels of the square that a picture is resized to: squashed, not cropped, so that nothing at its edges is lost. By the
    antialiased bilinear resize of all exports, also where timm's own was bicubic: the difference is small."""
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    license: str

    @property
    def features(self) -> int:
        return sum(part.features for part in self.parts)

    @property
    def is_bundled(self) -> bool:
        """Its weights come with the locked packages."""
        return all(part.package for part in self.parts)


def read_entry(entry: dict) -> Backbone:
    parts = tuple(Part(**part) for part in entry["parts"])
    mean, scale = tuple(entry["mean"]), tuple(entry["scale"])
    return Backbone(entry["name"], parts, entry["side"], mean, scale, entry["license"])


entries = json.loads((root / "functions/shared/backbones.json").read_text(encoding="utf-8"))
registry = {entry["name"]: read_entry(entry) for entry in entries}
bundled = [name for name, backbone in registry.items() if backbone.is_bundled]


def find_backbone(name: str) -> Backbone:
    """Raises BadInput for one that neither the registry nor timm has."""
    if name.startswith(from_timm):
        # Imports timm, and torch with it: an entry costs less.
        from .weights import describe

        return describe(name)
    if name not in registry:
        raise BadInput(
            f"There is no backbone {name}; there are {', '.join(registry)}, and {from_timm}NAME for any of timm."
        )
    return registry[name]


def choose_device(wanted: str) -> str:
    """``cuda`` where there is a GPU that torch sees, else ``cpu``. PythonChild is imported only where a driver is."""
    if wanted == "cpu" or (wanted == "auto" and not Path("/dev/nvidiactl").exists()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        # What is not in mixed precision on purpose is in full precision, as the exported files are (with TF32, which torch takes
        # for convolutions by default, probabilities were off by up to 0.001).
        torch.backends.cudnn.allow_tf32 = False
        return "cuda"
    if wanted == "cuda":
        raise SystemExit("DEVICE is cuda, but torch sees no GPU: check the driver, or set DEVICE to auto.")
    return "cpu"


def load_network(backbone: Backbone, classes: int = 0, cache: Path | None = None) -> "torch.nn.Module":
    """The network with its pretrained weights, for evaluation; with ``classes`` 0 it gives embeddings, else logits.

    Of one that is not bundled the weights are those that prepare.py kept in ``cache``; without it timm looks for them.
    """
    import torch

    from .network import make_network, networks_of
    from .weights import load_part

    network = make_network([part.timm for part in backbone.parts], classes, backbone.side)
    kept = prepared_path(cache, backbone, "weights") if cache and not backbone.is_bundled else None
    if kept and kept.exists():
        network.load_state_dict(network.state_dict() | torch.load(kept, weights_only=True))
    else:
        for part, one in zip(backbone.parts, networks_of(network), strict=True):
            load_part(backbone, part, one)
    return network.eval()


def graph_path(cache: Path, backbone: Backbone, graph: str) -> Path:
    """The file of a graph that prepare.py describes, made first if it is missing.

    Making it takes seconds and most of torch, so a process of its own does it: who only embeds stays small.
    """
    path = prepared_path(cache, backbone, graph)
    if not path.exists():
        command = [sys.executable, "-m", f"{__package__}.prepare", "--cache", str(cache.absolute()), backbone.name]
        # From the folder that holds the package; what it prints must not get between two processes' protocol.
        made = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())
        if made.returncode != 0 or not path.exists():
            raise RuntimeError(f"{' '.join(command)} ended with {made.returncode} and did not make {path}.")
    return path


# The graphs of a backbone, with the format of each; of one that is not bundled prepare.py keeps the weights as well.
graphs = {"preprocess": "onnx", "embed": "onnx", "classify": "onnx", "program": "pt2"}


def prepared_files(backbone: Backbone) -> list[str]:
    return [*graphs] if backbone.is_bundled else ["weights", *graphs]


def prepared_path(cache: Path, backbone: Backbone, graph: str) -> Path:
    weights = "-".join(importlib.metadata.version(part.package or "timm") for part in backbone.parts)
    name = backbone.name.replace("/", "--")
    return cache / f"{name}-{weights}-{graphs_version}.{graph}.{graphs.get(graph, 'pt')}"
