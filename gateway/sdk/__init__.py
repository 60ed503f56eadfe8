"""The client kit: connect to a gateway, edit documents that converge, listen to channels.

It imports nothing of the server. Start with `connect`.
"""

from gateway.sdk.channel import Channel
from gateway.sdk.client import Client
from gateway.sdk.config import ClientConfig
from gateway.sdk.connect import connect
from gateway.sdk.document import Document
from gateway.sdk.door import LinkStats
from gateway.sdk.errors import (
    AuthenticationFailed,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    DocumentClosed,
    EditRefused,
    InvalidCall,
    RequestRefused,
    RequestTimeout,
    SdkError,
    TooManyPending,
)
from gateway.sdk.events import DocumentEvent, Happening, Publication
from gateway.sdk.inbox import RemoteOperation
from gateway.sdk.outbox import Edit

__all__ = [
    "AuthenticationFailed",
    "Channel",
    "Client",
    "ClientClosed",
    "ClientConfig",
    "ConnectFailed",
    "ConnectionLost",
    "Document",
    "DocumentClosed",
    "DocumentEvent",
    "Edit",
    "EditRefused",
    "Happening",
    "InvalidCall",
    "LinkStats",
    "Publication",
    "RemoteOperation",
    "RequestRefused",
    "RequestTimeout",
    "SdkError",
    "TooManyPending",
    "connect",
]
