"""Makes the files of backbones: at set-up, when the trainer's image is built, or with the first use of a backbone.

    python -m trainer.python.prepare --cache .data/models [BACKBONE ...]

The files of a backbone are its graphs (graphs.py); a backbone whose weights timm has to find has these as well (``weights``), so
that timm looks for them once. BACKBONE is a name of functions/shared/backbones.json or ``timm/NAME``, or several with commas;
without a BACKBONE the bundled ones are prepared.
"""

import argparse
import fcntl
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch

from .backbone import Backbone, bundled
from .errors import BadInput
from .graphs import classify_graph, embed_graph, preprocess_graph, program_classes, program_graph
from .networks import Network
from .prepared import PreparedBackbone, find_backbone


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--cache", type=Path, required=True)
    arguments.add_argument("backbones", nargs="*", default=bundled, metavar="BACKBONE")
    options = arguments.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    # Two children that miss the same file make it once; the lock goes with the process, however that ends.
    with (options.cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            for name in ",".join(options.backbones).split(","):
                prepare(PreparedBackbone(find_backbone(name), options.cache))
        except BadInput as refusal:
            raise SystemExit(str(refusal)) from refusal


def prepare(backbone: PreparedBackbone) -> None:
    """Makes the files that are missing; a file appears complete or not at all."""
    if backbone.is_complete:
        return
    entry = backbone.entry
    network = backbone.load_network()
    check_entry(entry, network)
    if not entry.is_bundled:
        write_whole(backbone.expected_path("weights"), save_to_bytes(network.state_dict(), torch.save))
    preprocess = preprocess_graph(entry.preprocessing)
    embed = embed_graph(network, entry.preprocessing.side)
    classify = classify_graph(preprocess, embed, entry.features)
    for name, graph in {"preprocess": preprocess, "embed": embed, "classify": classify}.items():
        onnx.checker.check_model(graph)
        write_whole(backbone.expected_path(name), graph.SerializeToString())
    program = program_graph(backbone.load_network(program_classes), entry.preprocessing)
    write_whole(backbone.expected_path("program"), save_to_bytes(program, torch.export.save))


def check_entry(entry: Backbone, network: Network) -> None:
    """Checks that a backbone's entry describes its network: heads are trained on its features, and put on top of it.

    Raises:
        BadInput: the entry and the network differ.
    """
    side = entry.preprocessing.side
    with torch.inference_mode():
        features, outputs = network.compute_features(torch.zeros(1, 3, side, side))
        last = [
            part.forward_head(output, pre_logits=True).shape[1]
            for part, output in zip(network.parts, outputs, strict=True)
        ]
    if features.shape[1] != entry.features or last != [part.last_layer for part in entry.parts]:
        expected = [part.last_layer for part in entry.parts]
        raise BadInput(
            f"The entry of the backbone {entry.name} says {entry.features} features, {expected} of them from last layers; "
            f"its network gives {features.shape[1]} and {last}."
        )


def save_to_bytes(value: Any, save: Callable) -> bytes:
    file = io.BytesIO()
    save(value, file)
    return file.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file that appears complete or not at all."""
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(data)
    partial.rename(path)


if __name__ == "__main__":
    main()
