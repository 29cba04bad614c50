"""Answers requests of trainer/python-child.ts until stdin closes, so that this process never outlives its parent.

    python -m trainer.python.serve --role ingest --threads 2 --cache .data/models --device auto

JSON lines in (``{"id": 7, "method": "ingest", "params": {...}}``), JSON lines out: first ``{"ready": {...}}``, then for each
request any number of ``{"id": 7, "event": {...}}`` and one ``{"id": 7, "result": {...}}`` or
``{"id": 7, "error": {"code": ..., "message": ...}}``. Logs go to stderr. Requests are worked one after the other.

Role ``ingest`` (see ingest.py) decodes and embeds; on a CPU it never imports torch and is there in a moment. Role ``train``
(see train.py) has torch imported before it says that it is ready, and has done a run on noise unless it is asked for one already.
"""

import argparse
import errno
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from . import backbone
from .errors import BadInput, OutOfMemory, OutOfRoom, Refusal

Handler = Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], dict[str, Any]]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--role", choices=["ingest", "train"], required=True)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--cache", type=Path, required=True)
    arguments.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    arguments.add_argument(
        "--backbones", default=",".join(backbone.bundled), help="offered ones; the first is the default"
    )
    arguments.add_argument("--gpu-memory", type=float, default=1.0, help="share of it that this process may take")
    options = arguments.parse_args()

    # Whatever a library prints must not get into the protocol.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # By the line: this process ends without flushing.
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # Ctrl-C goes to the whole terminal: the parent decides when its children end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def say(line: dict[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")

    lines: SimpleQueue[str] = SimpleQueue()
    Thread(target=listen, args=[lines], daemon=True).start()
    # PythonChild alone is a million objects that stay: looking through them for garbage takes a quarter of a second each time, also
    # while they come.
    gc.disable()
    device = backbone.choose_device(options.device)
    if device == "cuda":
        import torch

        # What goes beyond it is refused as out of memory, which a fine-tuning answers by smaller batches.
        torch.cuda.set_per_process_memory_fraction(options.gpu_memory)
    backbones = options.backbones.split(",")
    licenses = make_ready(options.cache, backbones)
    handlers, versions, warm_up = open_role(options.role, options.cache, options.threads, device, backbones[0])
    if lines.empty():
        warm_up()
    gc.collect()
    gc.freeze()
    gc.enable()
    say({"ready": {"device": device, "backbones": backbones, "licenses": licenses, "versions": versions}})
    while True:
        number = None
        try:
            request = parse(lines.get())
            number = request["id"]
            handler = handlers.get(request["method"])
            if handler is None:
                raise BadInput(f"This child does {', '.join(handlers)}, not {request['method']}.")
            result = handler(request["params"], lambda event, number=number: say({"id": number, "event": event}))
            say({"id": number, "result": result})
        except Refusal as error:
            say({"id": number, "error": {"code": error.code, "message": str(error)}})
        except Exception as error:  # noqa: BLE001 (one bad request must not take the warm process with it)
            traceback.print_exc()
            say({"id": number, "error": {"code": code_of(error), "message": f"{type(error).__name__}: {error}"}})


def listen(lines: SimpleQueue[str]) -> None:
    """Ends the process as soon as stdin closes, in the middle of a request too: the parent is gone, however that happened."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def parse(line: str) -> dict[str, Any]:
    """Raises BadInput for what is no request"""
    try:
        request = json.loads(line)
    except ValueError as error:
        raise BadInput(f"A request is one line of JSON: {error}.") from error
    if not isinstance(request, dict):
        raise BadInput(f"A request is an object, not {line.strip()}.")
    form = {"id": int, "method": str, "params": dict}
    wrong = [name for name, kind in form.items() if not isinstance(request.get(name), kind)]
    if wrong:
        raise BadInput(f"A request has an id (number), a method (string) and params (object); wrong here: {wrong}.")
    return request


def make_ready(cache: Path, names: list[str]) -> dict[str, str]:
    """Prepares what is not there yet, or ends this process with what is in the way: no picture is taken that none can embed.

    @returns the licence of each.
    """
    try:
        found = [backbone.find_backbone(name) for name in names]
        for one in found:
            for file in backbone.prepared_files(one):
                backbone.graph_path(cache, one, file)
        return {one.name: one.license for one in found}
    except BadInput as refusal:
        raise SystemExit(str(refusal)) from refusal
    except RuntimeError as error:
        # The process that prepares has said why.
        raise SystemExit(1) from error


def open_role(
    role: str, cache: Path, threads: int, device: str, default: str
) -> tuple[dict[str, Handler], dict[str, str], Callable[[], None]]:
    """The methods of a role, the versions of what computes, and what the first request would wait for otherwise."""
    import onnxruntime

    versions = {"onnxruntime": onnxruntime.__version__}
    if role == "ingest":
        from .ingest import Ingest

        return {"ingest": Ingest(cache, threads, device)}, versions, lambda: None
    import torch

    from .train import Train

    train = Train(cache, threads, device)
    versions["torch"] = torch.__version__
    return {"train": train}, versions, lambda: train.warm_up(backbone.find_backbone(default))


def code_of(error: Exception) -> str:
    # Memory of the GPU (torch has a class of its own for it, which is not imported here) or of the machine.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OutOfMemory.code
    # torch makes an error of its own of one that a file gave.
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return OutOfRoom.code
        cause = cause.__cause__ or cause.__context__
    return Refusal.code


if __name__ == "__main__":
    main()
