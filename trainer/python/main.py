"""Answers requests of trainer/python-child.ts until stdin closes, so that this process never outlives its parent.

    python -m trainer.python.main --role ingest --threads 2 --cache .data/models --device auto

JSON lines in (``{"id": 7, "method": "ingest", "params": {...}}``), JSON lines out: first ``{"ready": {...}}``, then for each
request any number of ``{"id": 7, "event": {...}}`` and one ``{"id": 7, "result": {...}}`` or
``{"id": 7, "error": {"code": ..., "message": ...}}``. No line holds NaN or Infinity, which are not JSON. Logs go to stderr.
Requests are answered one after the other.

Role ``ingest`` (see.py) decodes and embeds; on a CPU it never imports torch and starts in half a second. Role ``train``
(learn.py) imports torch before it is ready, and trains on noise once unless a request waits already.
"""

import argparse
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

from .backbone import bundled
from .errors import BadInput, Refusal, as_refusal
from .prepared import PreparedBackbones

Handler = Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], dict[str, Any]]
Send = Callable[[dict[str, Any]], None]


def main() -> None:
    options = read_options()
    send = open_protocol()
    lines: SimpleQueue[str] = SimpleQueue()
    Thread(target=listen, args=[lines], daemon=True).start()
    # torch alone is a million objects that stay: each search for garbage among them takes a quarter of a second, also while it
    # is imported.
    gc.disable()
    device = choose_device(options.device, options.gpu_memory)
    names = options.backbones.split(",")
    backbones = PreparedBackbones(options.cache, device)
    licenses = prepare_backbones(backbones, names)
    handlers, versions, warm_up = open_role(options.role, backbones, options.threads, names[0])
    if lines.empty():
        warm_up()
    gc.collect()
    gc.freeze()
    gc.enable()
    send({"ready": {"device": device, "backbones": names, "licenses": licenses, "versions": versions}})
    while True:
        answer(lines.get(), handlers, send)


def read_options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--role", choices=["ingest", "train"], required=True)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--cache", type=Path, required=True, help="folder of prepared backbones")
    arguments.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    arguments.add_argument("--backbones", default=",".join(bundled), help="offered ones; the first is the default")
    arguments.add_argument("--gpu-memory", type=float, default=1.0, help="share of it that this process may take")
    return arguments.parse_args()


def open_protocol() -> Send:
    """Reserves stdout for the protocol, whatever libraries print, and leaves the end of this process to its parent.

    @returns a function that writes a line; it raises ValueError for one with NaN or Infinity.
    """
    stdout = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # Lines are written at once: this process ends without flushing.
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # Ctrl-C goes to the whole terminal: the parent decides when its children end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return lambda line: stdout.write(json.dumps(line, allow_nan=False) + "\n")


def listen(lines: SimpleQueue[str]) -> None:
    """Queues the lines of stdin, and ends the process when it closes, in the middle of a request too: the parent is gone."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def choose_device(wanted: str, gpu_memory: float = 1.0) -> str:
    """``cuda`` where there is a GPU that torch can use, else ``cpu``; torch is imported only where a driver is.

    Args:
        wanted: ``cpu``, ``cuda`` or ``auto``.
        gpu_memory: the share that this process may take, from 0 to 1. What goes beyond it is refused as out of memory, which a
            fine-tuning answers by smaller batches.

    Raises:
        SystemExit: ``cuda`` is wanted and cannot be used.
    """
    if wanted == "cpu" or (wanted == "auto" and not Path("/dev/nvidiactl").exists()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        # Whatever is not in mixed precision on purpose is in full precision, as the exported files are (with TF32, torch's
        # default for convolutions, probabilities were off by up to 0.001).
        torch.backends.cudnn.allow_tf32 = False
        torch.cuda.set_per_process_memory_fraction(gpu_memory)
        return "cuda"
    if wanted == "cuda":
        raise SystemExit("DEVICE is cuda, but torch sees no GPU: check the driver, or set DEVICE to auto.")
    return "cpu"


def prepare_backbones(backbones: PreparedBackbones, names: list[str]) -> dict[str, str]:
    """Prepares the files that are missing, or ends this process with the reason: it takes no picture that it cannot embed.

    @returns the licence of each backbone.
    """
    try:
        opened = [backbones.open(name) for name in names]
        for backbone in opened:
            for file in backbone.files:
                backbone.path(file)
        return {backbone.name: backbone.entry.license for backbone in opened}
    except BadInput as refusal:
        raise SystemExit(str(refusal)) from refusal
    except RuntimeError as error:
        # The process that prepares has written the reason.
        raise SystemExit(1) from error


def open_role(
    role: str, backbones: PreparedBackbones, threads: int, default: str
) -> tuple[dict[str, Handler], dict[str, str], Callable[[], None]]:
    """@returns the methods of a role, the versions of the libraries that compute, and a function that warms up."""
    import onnxruntime

    versions = {"onnxruntime": onnxruntime.__version__}
    if role == "ingest":
        from .see import Ingest

        return {"ingest": Ingest(backbones, threads)}, versions, lambda: None
    import torch

    from .learn import Train

    train = Train(backbones, threads)
    versions["torch"] = torch.__version__
    return {"train": train}, versions, lambda: train.warm_up(default)


def answer(line: str, handlers: dict[str, Handler], send: Send) -> None:
    """Answers a request; an error, or a result or event that is no JSON, is the error of that request alone."""
    number = None
    try:
        request = parse(line)
        number = request["id"]
        handler = handlers.get(request["method"])
        if handler is None:
            raise BadInput(f"This child answers {', '.join(handlers)}, not {request['method']}.")
        result = handler(request["params"], lambda event: send({"id": number, "event": event}))
        send({"id": number, "result": result})
    except Exception as error:  # noqa: BLE001 (one bad request must not end the warm process)
        if not isinstance(error, Refusal):
            traceback.print_exc()
        refusal = as_refusal(error)
        send({"id": number, "error": {"code": refusal.code, "message": str(refusal)}})


def parse(line: str) -> dict[str, Any]:
    """Raises BadInput for a line that is no request."""
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


if __name__ == "__main__":
    main()
