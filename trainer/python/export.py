"""Writes and opens the files of a model; formats.py says which function is for which file.

``model.onnx``: raw pixels in, calibrated probabilities and familiarity out; resize and normalisation are inside.
``model.pt``: plain tensors and values for ``torch.load(path, weights_only=True)``. Its ``state_dict`` fits the timm network that
it names (created with ``num_classes=0``; of several networks the names begin with ``parts.0.`` and so on), but for
``head.weight`` and ``head.bias``: a linear layer on the features that ``features`` describes. ``model.pt2``:
``torch.export.load(path).module()``, pixels to probabilities.
"""

import json
import unicodedata
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .backbone import Backbone, Preprocessing
from .graphs import familiar, head_bias, head_weight
from .head import Head
from .prepared import open_session

if TYPE_CHECKING:
    import onnx

    from .networks import Network

# Names of a network's tensors: the prefix of those of its only part, and those of its head.
only_part = "parts.0."
head_names = ("head.weight", "head.bias")


def write_onnx(
    path: Path,
    model: "onnx.ModelProto",
    backbone: Backbone,
    head: Head,
    prototypes: np.ndarray,
    classes: list[str],
) -> None:
    """Puts the head and its prototypes into the graph, which is changed by that, and writes it."""
    from onnx import helper, numpy_helper

    weights = {head_weight: head.weight, head_bias: head.bias, familiar: prototypes}
    for constant in model.graph.initializer:
        if constant.name in weights:
            constant.CopyFrom(numpy_helper.from_array(weights[constant.name].astype(np.float32), constant.name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(classes)
    model.producer_name = "AI Teacher"
    helper.set_model_props(
        model,
        {
            "classes": json.dumps(classes, ensure_ascii=False),
            "backbone": backbone.name,
            "license": backbone.license,
            "input": "uint8 RGB [N, H, W, 3], the whole picture, upright, of any size",
            "output": "probabilities [N, classes]; familiarity [N]: cosine to the nearest of what it learned",
        },
    )
    path.write_bytes(model.SerializeToString())


def write_checkpoint(path: Path, backbone: Backbone, network: "Network", head: Head, classes: list[str]) -> None:
    import torch

    # A single network has the names of timm.
    prefix = only_part if len(network.parts) == 1 else ""
    state = {name.removeprefix(prefix): tensor for name, tensor in network.state_dict().items()}
    for name, values in zip(head_names, (head.weight, head.bias), strict=True):
        state[name] = torch.tensor(values, dtype=torch.float32)
    checkpoint = {
        "format": 2,
        "backbone": {"name": backbone.name, "timm": timm_names(backbone), "license": backbone.license},
        "preprocessing": backbone.preprocessing.describe(),
        "features": network.describe_features(),
        "state_dict": state,
        "classes": classes,
    }
    # A file of Python raises the reason when it cannot be written; torch's own writer does not.
    with path.open("wb") as file:
        torch.save(checkpoint, file)


def timm_names(backbone: Backbone) -> str | list[str]:
    """A name, or the names of several parts."""
    names = backbone.timm_names
    return names[0] if len(names) == 1 else names


def write_labels(path: Path, classes: list[str]) -> None:
    """Writes one line a class, in the order of the probabilities; a line break or the like in a name becomes a space."""
    lines = (
        "".join(" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in name)
        for name in classes
    )
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


Run = Callable[[np.ndarray], np.ndarray]
"""Pixels, uint8 RGB [H, W, 3] -> probabilities [classes]; several threads may call it at once."""


def open_onnx(path: Path) -> Run:
    """Opens the exported file as others run it."""
    session = open_session(path)
    return lambda pixels: session.run(["probabilities"], {"pixels": pixels[None]})[0][0]


def open_checkpoint(path: Path) -> Run:
    """Opens the exported file as others load it, with torch's own resize.

    The network is made without weights, and all of them have to come from the file.
    """
    import torch

    from .networks import Network, Preprocess

    checkpoint = torch.load(path, weights_only=True, mmap=True)
    preprocess = Preprocess(Preprocessing.from_description(checkpoint["preprocessing"]))
    names = checkpoint["backbone"]["timm"]
    names = (names,) if isinstance(names, str) else tuple(names)
    state = checkpoint["state_dict"]
    classes, features = state[head_names[0]].shape
    prefix = only_part if len(names) == 1 else ""
    state = {name if name in head_names else prefix + name: tensor for name, tensor in state.items()}
    network = deepcopy(network_without_weights(names, preprocess.side, features, classes))
    if any(name not in state for name, _ in network.named_buffers()):
        # Some networks compute a buffer from their size alone, and no file holds that.
        network = Network(list(names), preprocess.side, features, classes)
    network.load_state_dict(state, assign=True)
    network.follow_description(checkpoint["features"])
    network.eval()

    def run(pixels: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
        with torch.inference_mode():
            return network(preprocess(planes)).softmax(dim=1)[0].numpy()

    return run


@lru_cache(maxsize=3)
def network_without_weights(names: tuple[str, ...], side: int, features: int, classes: int) -> "Network":
    """Kept, because timm takes three times as long to make a network as it takes to copy one."""
    import torch

    from .networks import Network

    with torch.device("meta"):
        return Network(list(names), side, features, classes)
