"""Makes the graphs of every backbone ahead of time: at set-up, and when the trainer's image is built.

python -m trainer.torch.prepare --cache .data/models
"""

import argparse
from pathlib import Path

from . import backbone


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--cache", type=Path, required=True)
    cache = arguments.parse_args().cache
    for entry in backbone.registry.values():
        backbone.prepare(cache, entry)


if __name__ == "__main__":
    main()
