"""The formats of a model's files: one class for each writer that functions/shared/artifacts.json names.

A new format is an entry there and a class here: it is then written, checked on the learner's own images, and named in the report
and to the parent.
"""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import facts
from .export import Run, open_checkpoint, open_onnx, write_checkpoint, write_labels, write_onnx
from .program import ProgramFiles, Programs
from .stage import Model


class Format(ABC):
    """How a file of a model is written, and opened as others open it; an instance may keep what several models share."""

    @abstractmethod
    def write(self, path: Path, model: Model) -> None: ...

    def open(self, path: Path, model: Model) -> Run | None:
        """What classifies from pixels, by the file alone; None for a file that does not classify."""
        return None


class Onnx(Format):
    def write(self, path: Path, model: Model) -> None:
        entry = model.backbone.entry
        write_onnx(path, model.graph(), entry, model.head, model.prototypes, model.classes)

    def open(self, path: Path, model: Model) -> Run:
        return open_onnx(path)


class Checkpoint(Format):
    def write(self, path: Path, model: Model) -> None:
        write_checkpoint(path, model.backbone.entry, model.network, model.head, model.classes)

    def open(self, path: Path, model: Model) -> Run:
        return open_checkpoint(path)


class Program(Format):
    def __init__(self):
        self.files, self.programs = ProgramFiles(), Programs()

    def write(self, path: Path, model: Model) -> None:
        model.write_program(path, self.files)

    def open(self, path: Path, model: Model) -> Run:
        return self.programs.open(path)


class Labels(Format):
    def write(self, path: Path, model: Model) -> None:
        write_labels(path, model.classes)


class Report(Format):
    """Written last, because it holds the certificate of the other files."""

    def write(self, path: Path, model: Model) -> None:
        path.write_text(json.dumps(model.report, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")


@dataclass
class Artifact:
    """A file of every model."""

    name: str
    type: str
    """Of its content."""
    format: Format

    @property
    def is_report(self) -> bool:
        return isinstance(self.format, Report)

    def describe(self) -> dict[str, Any]:
        """As the parent gets it."""
        return {"name": self.name, "type": self.type}


def open_artifacts() -> list[Artifact]:
    """The files of artifacts.json, each with an instance of its format."""
    formats = {format.__name__: format for format in Format.__subclasses__()}
    return [Artifact(name, fact["type"], formats[fact["writer"]]()) for name, fact in facts.artifacts.items()]
