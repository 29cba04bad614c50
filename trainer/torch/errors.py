"""Why a request is refused; ``code`` goes to the parent as it is."""


class Refusal(Exception):
    code = "failed"


class BadInput(Refusal):
    """The same request would be refused again."""

    code = "bad-input"


class OutOfMemory(Refusal):
    code = "out-of-memory"
