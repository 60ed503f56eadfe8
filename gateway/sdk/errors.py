"""Everything the client kit raises: one tree, a code each, a sentence that says how to mend it.

``code`` is stable and is what programs compare; ``reason`` is one sentence for people; ``remote``
says that the gateway decided it; ``retry`` that the same call may succeed later.
"""

from gateway.close_codes import CloseCode
from gateway.messages import Error


class SdkError(Exception):
    """The root of this kit's errors."""

    code = "sdk_error"
    retry = False

    def __init__(self, reason: str, *, remote: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remote = remote


class InvalidCall(SdkError, ValueError):
    """An argument cannot be right; the reason names it and what is expected."""

    code = "invalid_call"


class ConnectFailed(SdkError):
    """No conversation with the gateway could be started."""

    code = "connect_failed"
    retry = True


class AuthenticationFailed(SdkError):
    """The gateway did not accept the token or the password."""

    code = "authentication_failed"


class ConnectionLost(SdkError):
    """The connection ended before the answer came; whether the request was done is unknown."""

    code = "connection_lost"
    retry = True


class RequestTimeout(SdkError):
    """No answer came in time; whether the request was done is unknown."""

    code = "request_timeout"
    retry = True


class ClientClosed(SdkError):
    """The client was closed, by the program or for good by the gateway."""

    code = "client_closed"


class RequestRefused(SdkError):
    """The gateway refused the request; ``code`` is one of `gateway.errors.Code`."""

    def __init__(
        self, code: str, reason: str, *, retry: bool = False, retry_after_ms: int = 0
    ) -> None:
        super().__init__(reason, remote=True)
        self.code = code
        self.retry = retry
        self.retry_after_ms = retry_after_ms

    @classmethod
    def of(cls, body: Error) -> "RequestRefused":
        """Return the exception for an error reply."""
        reason = body.message or f"the gateway refused the request: {body.code}"
        return cls(body.code, reason, retry=body.retry, retry_after_ms=body.retry_after_ms)


class EditRefused(RequestRefused):
    """The gateway refused an edit for good; it and what was edited after it are taken back."""


class TooManyPending(SdkError):
    """More edits wait for the gateway than allowed; await ``document.room()`` and edit again."""

    code = "too_many_pending"
    retry = True


class DocumentClosed(SdkError):
    """The document handle was closed; open the document again."""

    code = "document_closed"


class DoorClosed(Exception):
    """A transport connection ended. Never reaches the program: the client reconnects or reports.

    *code* is a `CloseCode` number where the gateway gave one, else 0.
    """

    def __init__(self, code: int = 0, reason: str = "") -> None:
        super().__init__(reason or close_sentence(code))
        self.code = code
        self.reason = reason or close_sentence(code)


def close_sentence(code: int) -> str:
    """Return what a close code means, in words."""
    known = next((item for item in CloseCode if item == code), None)
    if known is not None:
        return known.sentence
    return f"closed with code {code}" if code else "the connection broke"
