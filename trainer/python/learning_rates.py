"""How fast each layer of a network learns, and when."""

import math
from typing import Any

import timm

from .networks import Network

# The rate of the newest layers; each stage below learns by this share of the rate above (Howard and Ruder 2018).
rate, rate_below = 1e-4, 0.6
head_rate = 3e-4


def pace(step: int, steps_of_epoch: int, most: int) -> float:
    """The share of the top rate: up during the first epoch, down as a cosine to the last."""
    if step < steps_of_epoch:
        return (step + 1) / steps_of_epoch
    return 0.5 + 0.5 * math.cos(math.pi * step / (steps_of_epoch * most))


def group_by_rate(network: Network) -> list[dict[str, Any]]:
    """Groups parameters by their top rate: the last layer's, and less for each stage below.

    timm knows the stages; however many there are, the rates at both ends are those that were good for EfficientNet's nine.
    """
    groups = [{"params": list(network.head.parameters()), "lr": head_rate, "top": head_rate}]
    for part in network.parts:
        named = dict(part.named_parameters())
        layers = timm.models.group_parameters(part, part.group_matcher(coarse=True))
        stages = [[named[name] for name in layers[layer]] for layer in sorted(layers)]
        step = rate_below ** (8 / max(1, len(stages) - 1))
        for height, parameters in enumerate(reversed(stages)):
            top = rate * step**height
            groups.append({"params": parameters, "lr": top, "top": top})
    return groups
