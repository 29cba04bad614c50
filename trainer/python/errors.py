"""Why a request is refused; ``code`` goes to the parent as it is."""

from collections.abc import Iterator
from contextlib import contextmanager


class Refusal(Exception):
    code = "failed"


class BadInput(Refusal):
    """The same request would be refused again."""

    code = "bad-input"


class TooFewImages(Refusal):
    """Nothing is wrong with the request but that there is too little to learn from."""

    code = "too-few-images"


class OutOfMemory(Refusal):
    code = "out-of-memory"


class OutOfRoom(Refusal):
    """The disk that files are written to is full."""

    code = "out-of-room"


@contextmanager
def reading(method: str) -> Iterator[None]:
    """Around the lines that take a request's params apart: what is missing or of another type there is bad input."""
    try:
        yield
    except KeyError as error:
        raise BadInput(f"{method} expects {error} in its params, which is missing.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{method} got params of another form than its docstring tells: {error}.") from error
