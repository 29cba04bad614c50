"""Makes the graphs of backbones: at set-up, when the trainer's image is built, or with the first use of one.

    python -m trainer.python.prepare --cache .data/models [BACKBONE ...]

Four files for a backbone, three of them ONNX; for one whose weights timm has to find first, these as well (``weights``), so that
it is looked for once. BACKBONE is a name of functions/shared/backbones.json or ``timm/NAME``, or several with commas; without
one, those whose weights the locked packages bring.

- ``preprocess``: uint8 RGB [N, H, W, 3] of any size -> float32 [N, 3, side, side];
- ``embed``: that -> float32 embeddings [N, features], and what they are the mean of, where they are one (heatmap.py);
- ``classify``: pixels -> probabilities, both joined with a head whose weights are put in for each model (export.py);
- ``program``: the same by ``torch.export``, as a ``.pt2``.

So the trainer, every export and predict prepare a picture by the same graph.
"""

import argparse
import fcntl
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper

from .backbone import Backbone, bundled, find_backbone, load_network, prepared_files, prepared_path
from .errors import BadInput
from .network import FromPixels, WithPlaces, has_places, make_network

opset = 18
# Names of the parts of the joined graph that export.py replaces.
head_weight, head_bias, familiar = "head.weight", "head.bias", "familiar.prototypes"
# And that heatmap.py reads.
places = "places"
# Of the program, until program.py puts a head in.
program_classes = 2


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
                prepare(options.cache, find_backbone(name))
        except BadInput as refusal:
            raise SystemExit(str(refusal)) from refusal


def prepare(cache: Path, backbone: Backbone) -> None:
    """Makes what is missing; a file appears complete or not at all."""
    if all(prepared_path(cache, backbone, file).exists() for file in prepared_files(backbone)):
        return
    network = load_network(backbone, cache=cache)
    check(backbone, network)
    if not backbone.is_bundled:
        keep(prepared_path(cache, backbone, "weights"), saved(network.state_dict(), torch.save))
    preprocess = preprocess_graph(backbone)
    embed = embed_graph(backbone, network)
    classify = classify_graph(backbone, preprocess, embed)
    for name, graph in {"preprocess": preprocess, "embed": embed, "classify": classify}.items():
        onnx.checker.check_model(graph)
        keep(prepared_path(cache, backbone, name), graph.SerializeToString())
    whole = load_network(backbone, program_classes, cache)
    keep(prepared_path(cache, backbone, "program"), saved(program_graph(backbone, whole), torch.export.save))


def check(backbone: Backbone, network: torch.nn.Module) -> None:
    """Raises BadInput where the entry says other than the network: heads are trained on what it gives, and put on top of it."""
    with torch.inference_mode():
        features = network(torch.zeros(1, 3, backbone.side, backbone.side)).shape[1:]
    names = [part.timm for part in backbone.parts]
    last = make_network(names, 2, backbone.side).get_classifier()
    told = (backbone.features,)
    if tuple(features) != told or not isinstance(last, torch.nn.Linear) or last.in_features != backbone.features:
        raise BadInput(
            f"The entry of the backbone {backbone.name} says {backbone.features} features and a linear layer on top; "
            f"its network gives {list(features)} and has {last}."
        )


def saved(thing, save: Callable) -> bytes:
    file = io.BytesIO()
    save(thing, file)
    return file.getvalue()


def keep(path: Path, data: bytes) -> None:
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(data)
    partial.rename(path)


def preprocess_graph(backbone: Backbone) -> onnx.ModelProto:
    """Cast, one antialiased resize (as Pillow's bilinear: ONNX Resize-18 with antialias), normalise."""
    side = np.array([backbone.side, backbone.side], dtype=np.int64)
    mean, scale = (np.array(one, dtype=np.float32).reshape(3, 1, 1) for one in (backbone.mean, backbone.scale))
    constants = {"pixel.size": side, "pixel.mean": mean, "pixel.scale": scale}
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node(
            "Resize",
            ["floats", "", "", "pixel.size"],
            ["resized"],
            mode="linear",
            antialias=1,
            axes=[2, 3],
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Sub", ["resized", "pixel.mean"], ["centred"]),
        helper.make_node("Div", ["centred", "pixel.scale"], ["prepared"]),
    ]
    return model(
        nodes,
        "preprocess",
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", "H", "W", 3]),
        helper.make_tensor_value_info("prepared", TensorProto.FLOAT, ["N", 3, backbone.side, backbone.side]),
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def classify_graph(backbone: Backbone, preprocess: onnx.ModelProto, embed: onnx.ModelProto) -> onnx.ModelProto:
    joined = compose.merge_models(preprocess, embed, io_map=[("prepared", "prepared")])
    whole = compose.merge_models(joined, head_graph(backbone), io_map=[("embedding", "embedding")])
    # What is seen at each place is computed for who asks (heatmap.py), and told to nobody else.
    outputs = [one for one in whole.graph.output if one.name != places]
    del whole.graph.output[:]
    whole.graph.output.extend(outputs)
    return whole


def embed_graph(backbone: Backbone, network: torch.nn.Module) -> onnx.ModelProto:
    """The network without a head, by torch's exporter; zeros as example, for an exporter may keep what it is shown."""
    example = torch.zeros(2, 3, backbone.side, backbone.side)
    whole = has_places(network, backbone.side)
    exported = torch.onnx.export(
        WithPlaces(network) if whole else network,
        (example,),
        dynamo=True,
        opset_version=opset,
        input_names=["prepared"],
        output_names=["embedding", places] if whole else ["embedding"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        verbose=False,
    )
    proto = exported.model_proto
    # Joined graphs need one version of the format.
    proto.ir_version = 10
    return proto


def program_graph(backbone: Backbone, network: torch.nn.Module) -> torch.export.ExportedProgram:
    """Pixels to probabilities with a head of zeros; zeros as example too, for it is kept in the file."""
    whole = FromPixels(network, backbone.side, backbone.mean, backbone.scale)
    for parameter in whole.parameters():
        parameter.requires_grad_(False)
    for parameter in network.get_classifier().parameters():
        torch.nn.init.zeros_(parameter)
    sizes = {axis: torch.export.Dim(name, min=1) for axis, name in enumerate(("N", "H", "W"))}
    example = torch.zeros(2, 48, 64, 3, dtype=torch.uint8)
    return torch.export.export(whole.eval(), (example,), dynamic_shapes={"pixels": sizes})


def head_graph(backbone: Backbone) -> onnx.ModelProto:
    """Probabilities of an embedding, and how familiar it is (familiarity.py); zeros for two classes until export.py comes."""
    nodes = [
        helper.make_node("Gemm", ["embedding", head_weight, head_bias], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceL2", ["embedding", "familiar.axis"], ["length"], keepdims=1),
        helper.make_node("Div", ["embedding", "length"], ["direction"]),
        helper.make_node("Gemm", ["direction", familiar], ["cosines"], transB=1),
        helper.make_node("ReduceMax", ["cosines", "familiar.axis"], ["familiarity"], keepdims=0),
    ]
    weights = [
        numpy_helper.from_array(np.zeros((2, backbone.features), dtype=np.float32), head_weight),
        numpy_helper.from_array(np.zeros(2, dtype=np.float32), head_bias),
        numpy_helper.from_array(np.zeros((1, backbone.features), dtype=np.float32), familiar),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "familiar.axis"),
    ]
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", backbone.features])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", "classes"])
    known = helper.make_tensor_value_info("familiarity", TensorProto.FLOAT, ["N"])
    return model(nodes, "head", embedding, [probabilities, known], weights)


def model(nodes, name, given, wanted, constants) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, name, [given], wanted if isinstance(wanted, list) else [wanted], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


if __name__ == "__main__":
    main()
