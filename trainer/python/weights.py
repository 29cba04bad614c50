"""Where the weights of a network come from, and what timm knows of a model that has no entry in the registry.

timm finds its own where its download keeps them (``HF_HOME``, by default ``~/.cache/huggingface``: a folder that may be brought
from another machine), else downloads them. Prepared once (prepare.py), a backbone needs neither: the folder of prepared
backbones holds its weights.
"""

import difflib
import importlib
from functools import cache

import timm
import torch
from torch import nn

from .backbone import Backbone, Part, from_timm
from .errors import BadInput
from .network import classifier_name, make_part


def load_part(backbone: Backbone, part: Part, network: nn.Module) -> None:
    """Puts the pretrained weights of ``part`` into its network, all but the last layer's.

    Raises:
        BadInput: they are neither here nor could they be downloaded.
    """
    own = network.state_dict()
    last = classifier_name(network)
    embedding = [name for name in own if not name.startswith(f"{last}.")]
    if part.package:
        weights = torch.load(packaged(part), weights_only=True)
        # The package's names are older than timm's, its tensors come in the same order; the last two are ImageNet's head.
        network.load_state_dict(own | dict(zip(embedding, weights.values(), strict=False)))
        return
    try:
        pretrained = make_part(part.timm, 0, backbone.side, pretrained=True).state_dict()
    # Without a network, with a proxy, with a name that the hub lacks: each library raises its own.
    except Exception as error:
        cause = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BadInput(
            f"The weights of the backbone {backbone.name} (timm's {part.timm}) are not on this machine, and timm could not "
            f"download them ({cause}). Take {backbone.name} out of BACKBONES, or bring its weights: build the trainer's image "
            f"with it (npm run images -- trainer --backbones {backbone.name}), or set HF_HOME to a folder that has them."
        ) from error
    network.load_state_dict(own | {name: pretrained[name] for name in embedding})


def packaged(part: Part) -> str:
    package = importlib.import_module(part.package)
    return getattr(package, part.file).get_model_file_path()


@cache
def describe(name: str) -> Backbone:
    """``timm/NAME`` as timm itself describes it: input, normalisation, licence.

    Raises:
        BadInput: timm has no pretrained model of that name, or none that embeds pictures.
    """
    model = name.removeprefix(from_timm)
    known = timm.list_models(pretrained=True)
    if model not in known:
        near = difflib.get_close_matches(model, known, 3, 0.5)
        raise BadInput(
            f"timm {timm.__version__} has no pretrained model {model}{': ' if near else ''}{', '.join(near)}."
        )
    told = timm.get_pretrained_cfg(model)
    with torch.device("meta"):
        last = make_part(model, 2, told.input_size[-1]).get_classifier()
    channels, height, side = told.input_size
    if not isinstance(last, nn.Linear) or channels != 3 or height != side:
        raise BadInput(
            f"timm's {model} cannot be a backbone: it needs square pictures in colour and one linear last layer."
        )
    mean, scale = (tuple(round(255 * one, 4) for one in values) for values in (told.mean, told.std))
    return Backbone(name, (Part(model, last.in_features),), side, mean, scale, told.license or "unknown")
