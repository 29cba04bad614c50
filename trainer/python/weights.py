"""Loads the pretrained weights of a network, and describes a model of timm that has no entry in the registry.

timm finds its own where its download keeps them (``HF_HOME``, by default ``~/.cache/huggingface``: a folder that may be copied
from another machine), else downloads them. A prepared backbone (prepare.py) needs neither: the folder of prepared backbones
holds its weights.
"""

import difflib
import importlib
from functools import cache

import timm
import torch
from torch import nn

from .backbone import Backbone, Part, Preprocessing, from_timm
from .errors import BadInput
from .networks import Network, make_part


def load_part(backbone: Backbone, part: Part, network: nn.Module) -> None:
    """Puts the pretrained weights of ``part`` into its network.

    Raises:
        BadInput: the weights are not on this machine and could not be downloaded.
    """
    if part.package:
        weights = torch.load(packaged_path(part), weights_only=True)
        # The package's names are older than timm's, but its tensors have the same order; the last two are ImageNet's head.
        network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=False)))
        return
    try:
        pretrained = make_part(part.timm, backbone.preprocessing.side, pretrained=True).state_dict()
    # Each library raises an exception of its own, for a missing network, a proxy, or a name that the hub lacks.
    except Exception as error:
        cause = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BadInput(
            f"The weights of the backbone {backbone.name} (timm's {part.timm}) are not on this machine, and timm could not "
            f"download them ({cause}). Take {backbone.name} out of BACKBONES, or bring its weights: build the trainer's image "
            f"with it (npm run images -- trainer --backbones {backbone.name}), or set HF_HOME to a folder that has them."
        ) from error
    network.load_state_dict(pretrained)


def packaged_path(part: Part) -> str:
    package = importlib.import_module(part.package)
    return getattr(package, part.file).get_model_file_path()


@cache
def describe(name: str) -> Backbone:
    """Describes ``timm/NAME`` as timm does: input, normalisation, licence.

    Raises:
        BadInput: timm has no pretrained model of that name, or the model does not embed pictures.
    """
    model = name.removeprefix(from_timm)
    known = timm.list_models(pretrained=True)
    if model not in known:
        near = difflib.get_close_matches(model, known, 3, 0.5)
        raise BadInput(
            f"timm {timm.__version__} has no pretrained model {model}{': ' if near else ''}{', '.join(near)}."
        )
    config = timm.get_pretrained_cfg(model)
    channels, height, side = config.input_size
    if channels != 3 or height != side:
        raise BadInput(f"timm's {model} cannot be a backbone: it needs square pictures in colour.")
    mean, scale = (tuple(round(255 * value, 4) for value in values) for values in (config.mean, config.std))
    part = Part(model, *count_features(model, side))
    return Backbone(name, (part,), Preprocessing(side, mean, scale), config.license or "unknown")


def count_features(model: str, side: int) -> tuple[int, int]:
    """The number of features of timm's ``model``, and how many of them come from its last layer; computed without numbers.

    Raises:
        BadInput: its levels cannot be computed.
    """
    with torch.device("meta"), torch.inference_mode():
        try:
            network = Network([model], side).eval()
            features, [output] = network.compute_features(torch.zeros(1, 3, side, side))
            last = network.parts[0].forward_head(output, pre_logits=True)
        # Each architecture fails in its own way.
        except Exception as error:
            raise BadInput(f"timm's {model} cannot be a backbone: timm computes no levels of it ({error}).") from error
    return features.shape[1], last.shape[1]
