"""A backbone that is ready to use: its prepared files, and what a worker opens of them and keeps.

Importing this module is quick: torch and onnx are imported by the properties that need them, which a worker that only embeds on
a CPU never does.
"""

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from . import facts
from .backbone import Backbone, from_timm, registry
from .errors import BadInput

if TYPE_CHECKING:
    import onnx
    import torch

    from .networks import Network

# The version of the files that prepare.py makes, and of the embeddings that they give: the first number is raised with every
# change there, so that an older file in a cache is never used.
graphs_version = f"6.{facts.embeddings['version']}"
# The graphs of a backbone (graphs.py), with the format of each.
graphs = {"preprocess": "onnx", "embed": "onnx", "classify": "onnx", "program": "pt2"}
# Pictures that the network gets at once. On a CPU each thread computes a picture of its own: two threads that share one
# picture or batch wait for each other (on two busy cores 58 to 150 pictures a second, apart 211).
batch_size = {"cpu": 1, "cuda": 64}


def find_backbone(name: str) -> Backbone:
    """The entry of a backbone. Raises BadInput for a name that neither the registry nor timm has."""
    if name.startswith(from_timm):
        # This imports timm, and torch with it, which an entry does not need.
        from .weights import describe

        return describe(name)
    if name not in registry:
        raise BadInput(
            f"There is no backbone {name}; there are {', '.join(registry)}, and {from_timm}NAME for any of timm."
        )
    return registry[name]


class PreparedBackbones:
    """The backbones of a worker, by name; each is opened with its first use and kept: a worker may never need the others."""

    def __init__(self, cache: Path, device: str):
        self.cache, self.device = cache, device
        self.opened: dict[str, PreparedBackbone] = {}

    def open(self, name: str) -> "PreparedBackbone":
        """Raises BadInput for a name that neither the registry nor timm has."""
        if name not in self.opened:
            self.opened[name] = PreparedBackbone(find_backbone(name), self.cache, self.device)
        return self.opened[name]


class PreparedBackbone:
    """An entry of the registry with its prepared files; sessions, graphs, network and program are opened on demand and kept.

    Its methods and what its properties give may be called from several threads at once.
    """

    def __init__(self, entry: Backbone, cache: Path, device: str = "cpu"):
        self.entry, self.cache, self.device = entry, cache, device
        self.name = entry.name
        self.batch_size = batch_size[device]

    @property
    def is_complete(self) -> bool:
        """Whether all of its files are there."""
        return all(self.expected_path(file).exists() for file in self.files)

    @property
    def files(self) -> list[str]:
        return [*graphs] if self.entry.is_bundled else ["weights", *graphs]

    def expected_path(self, file: str) -> Path:
        versions = "-".join(importlib.metadata.version(part.package or "timm") for part in self.entry.parts)
        name = self.name.replace("/", "--")
        return self.cache / f"{name}-{versions}-{graphs_version}.{file}.{graphs.get(file, 'pt')}"

    def path(self, file: str) -> Path:
        """The path of a file, made first if it is missing.

        Making it takes seconds and most of torch, so a process of its own does it: a worker that only embeds stays small.

        Raises:
            RuntimeError: it could not be made; the process that tried has written the reason to stderr.
        """
        path = self.expected_path(file)
        if not path.exists():
            command = [sys.executable, "-m", f"{__package__}.prepare", "--cache", str(self.cache.absolute()), self.name]
            # It runs in the folder that holds the package; its output must not get into the protocol on stdout.
            folder = Path(__file__).parents[2]
            made = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())
            if made.returncode != 0 or not path.exists():
                raise RuntimeError(f"{' '.join(command)} ended with {made.returncode} and did not make {path}.")
        return path

    @cached_property
    def prepare(self) -> Callable[[np.ndarray], np.ndarray]:
        """uint8 [H, W, 3] -> float32 [3, side, side], by the graph that every export contains."""
        run = open_session(self.path("preprocess")).run
        return lambda pixels: run(None, {"pixels": pixels[None]})[0][0]

    @cached_property
    def embed(self) -> Callable[[list[np.ndarray]], np.ndarray]:
        """float32 [3, side, side] each -> float32 [N, features], in the fastest runtime of the device.

        That is onnxruntime on a CPU (twice to three times as fast as torch there, the same to 1e-5), and torch on a GPU.
        """
        if self.device == "cuda":
            return self.embed_on_gpu()
        run = self.embed_session.run
        return lambda prepared: np.concatenate([run(["embedding"], {"prepared": image[None]})[0] for image in prepared])

    @cached_property
    def embed_session(self) -> onnxruntime.InferenceSession:
        return open_session(self.path("embed"), arena=True)

    def embed_on_gpu(self) -> Callable[[list[np.ndarray]], np.ndarray]:
        """The network on the GPU, in full precision: the exported files compute so, and pictures take longer to decode.

        On an H100 batches of 16 took 2,209 pictures a second to 2,335 in bfloat16, whose probabilities are off by up to 0.02.
        """
        import torch

        network = self.load_network().to("cuda", memory_format=torch.channels_last)

        def run(prepared: list[np.ndarray]) -> np.ndarray:
            with torch.inference_mode():
                batch = torch.from_numpy(np.stack(prepared)).to("cuda", memory_format=torch.channels_last)
                return network(batch).cpu().numpy()

        # torch keeps its choice of a GPU's convolutions for each thread, and the threads of a request are new ones.
        thread = ThreadPoolExecutor(1)
        return lambda prepared: thread.submit(run, prepared).result()

    @cached_property
    def feature_map(self) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
        """uint8 [H, W, 3] -> float32 features [features] and feature map [channels, rows, columns] (networks.py).

        It is None where the last layer is not the mean of a feature map.
        """
        from .graphs import feature_map

        if feature_map not in [output.name for output in self.embed_session.get_outputs()]:
            return None
        prepare, session = self.prepare, self.embed_session

        def run(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            features, places = session.run(["embedding", feature_map], {"prepared": prepare(pixels)[None]})
            return features[0], places[0]

        return run

    @cached_property
    def network(self) -> "Network":
        """The pretrained network on the CPU, which gives features; to be read only."""
        return self.load_network()

    def load_network(self, classes: int = 0) -> "Network":
        """A new network with its pretrained weights, for evaluation; with ``classes`` 0 it gives features, else logits.

        The weights of a backbone that is not bundled are those that prepare.py stored; before that timm finds them.
        """
        import torch

        from .networks import Network
        from .weights import load_part

        network = Network(self.entry.timm_names, self.entry.preprocessing.side, self.entry.features, classes)
        stored = self.expected_path("weights")
        if not self.entry.is_bundled and stored.exists():
            network.load_state_dict(network.state_dict() | torch.load(stored, weights_only=True))
        else:
            for part, own in zip(self.entry.parts, network.parts, strict=True):
                load_part(self.entry, part, own)
        return network.eval()

    @cached_property
    def classify_graph(self) -> "onnx.ModelProto":
        """Pixels -> probabilities, with a head that export.py replaces: whoever writes a file overwrites the head before."""
        import onnx

        return onnx.load(self.path("classify"))

    @cached_property
    def program(self) -> "torch.export.ExportedProgram":
        """The exported program, with a head that program.py replaces: whoever writes a file overwrites the head before."""
        import torch

        return torch.export.load(self.path("program"))


def open_session(model: Path | bytes, arena: bool = False) -> onnxruntime.InferenceSession:
    """A session that computes on the thread that calls it, of a file or of a file's content.

    With ``arena`` it keeps its memory, which saves a twentieth of the time where inputs always have the same size. Pictures
    come in every size, and an arena would keep the memory of the largest for ever.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = arena
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
