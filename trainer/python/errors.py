"""Why a request is refused, or a picture rejected; the sentences come from functions/shared/codes.json."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import facts


def fill_message(code: str, params: dict[str, Any]) -> str:
    """The sentence of ``code`` in English, with ``{name}`` replaced by ``params[name]``; a list is joined by commas."""

    def text(value: Any) -> str:
        if isinstance(value, list):
            return ", ".join(value)
        return f"{value:g}" if isinstance(value, float) else str(value)

    return facts.codes[code]["message"].format_map({name: text(value) for name, value in params.items()})


class Rejected(Exception):
    """A picture is not accepted. ``reason`` is ``{"code", "params", "message"}``, in words that a child understands."""

    def __init__(self, code: str, **params: Any):
        message = fill_message(code, params)
        super().__init__(message)
        self.reason = {"code": code, "params": params, "message": message}


class Refusal(Exception):
    """A request is refused; ``code`` goes to the parent as it is. Without a message of its own it has the code's sentence."""

    code = "failed"

    def __init__(self, message: str | None = None):
        super().__init__(message or fill_message(self.code, {}))


class BadInput(Refusal):
    """The same request would be refused again. The message says what was expected and what came: it is for programmers."""

    code = "bad-input"


class TooFewImages(Refusal):
    """The request is correct, but its images are too few to learn from."""

    code = "too-few-images"


class OutOfMemory(Refusal):
    """The memory of the GPU or of the machine is too small."""

    code = "out-of-memory"


class OutOfRoom(Refusal):
    """The disk that files are written to is full."""

    code = "out-of-room"


def as_refusal(error: Exception) -> Refusal:
    """The refusal that an exception of a library amounts to; one without a meaning of its own becomes ``failed``."""
    if isinstance(error, Refusal):
        return error
    # torch's class for the memory of a GPU is known by its name: importing torch takes seconds.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OutOfMemory()
    # torch raises an error of its own from the error that a file raised.
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return OutOfRoom()
        cause = cause.__cause__ or cause.__context__
    return Refusal(f"{type(error).__name__}: {error}")


@contextmanager
def reading(method: str) -> Iterator[None]:
    """Surrounds the lines that read a request's params: a missing param, or one of another type, is bad input."""
    try:
        yield
    except KeyError as error:
        raise BadInput(f"{method} expects {error} in its params, which is missing.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{method} expects params as its docstring describes them: {error}.") from error
