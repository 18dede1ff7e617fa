"""What can go wrong between a client and a Reverb server, by type."""

from typing import NoReturn


class ReverbError(Exception):
    """Any failure of a Reverb client or server."""


class DeadlineError(ReverbError, TimeoutError):
    """The call took longer than its deadline; what it asked for may still happen."""


class UnavailableError(ReverbError, ConnectionError):
    """Nobody answers at the server's address, or the connection broke."""


class TableError(ReverbError, LookupError):
    """The server has no table of that name."""


class RefusedError(ReverbError):
    """The server understood the call and refused it."""


class ClosedError(ReverbError):
    """The client, writer or sampler was closed before the call, or during it."""


class SignatureError(ReverbError, ValueError):
    """Data and a table's signature disagree in structure, shape or dtype."""


class ProtocolError(ReverbError, ValueError):
    """The other side sent bytes that are no valid message, or that ask for too much."""


class TablesDifferError(ReverbError):
    """A server's tables are not as configured: restored from a checkpoint, say."""


class ServerError(ReverbError, RuntimeError):
    """A server process could not be prepared or started, or ended by itself."""


def defect_error(error: Exception) -> ReverbError:
    """An error that nobody expected, as one that a waiting caller can be told.

    Args:
        error: its cause, which is kept.
    """
    failure = ReverbError(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def raise_again(error: ReverbError) -> NoReturn:
    """Raises a copy of an error that is kept: tracebacks would grow with each caller.

    Args:
        error: which stays as it is.

    Raises:
        ReverbError: of the same type, with the same words and cause.
    """
    raise type(error)(str(error)) from error.__cause__
