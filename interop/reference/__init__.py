"""The oracle: slow, obvious, and written from docs/protocol.md alone.

It imports nothing of this project, so that what it and the core agree on is the specification.
"""

from interop.reference.client import Client, ClientInputs, draw_client_inputs
from interop.reference.config import Config
from interop.reference.connection import Connection
from interop.reference.endpoint import Endpoint
from interop.reference.server import Server, ServerInputs, draw_server_inputs

__all__ = [
    "Client",
    "ClientInputs",
    "Config",
    "Connection",
    "Endpoint",
    "Server",
    "ServerInputs",
    "draw_client_inputs",
    "draw_server_inputs",
]
