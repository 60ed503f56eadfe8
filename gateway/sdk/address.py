"""Where a gateway is: the URLs that `connect` takes, parsed once at the border.

Knows the schemes and their rules (clear WebSocket only to this machine), and opens nothing.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from gateway.sdk.errors import InvalidCall

DEFAULT_PORTS = {"quantum": 4433, "ws": 80, "wss": 443}
_PIN_HEX_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL. *pin* is the hex of the server's Ed25519 public key, Quantum only."""

    scheme: str
    host: str
    port: int
    path: str = "/ws"
    pin: str = ""

    @property
    def authority(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL, without the pin."""
        path = "" if self.scheme == "quantum" else self.path
        return f"{self.scheme}://{self.authority}{path}"


def parse(url: str, pin: str = "") -> Address:
    """Return the parts of *url*; a ``?pin=`` in it stands in for *pin*.

    Raises:
        InvalidCall: the URL, its scheme, port or pin cannot be used; the message says what can.
    """
    parts = urlsplit(url if "://" in url else f"//{url}")
    scheme = parts.scheme
    if scheme not in DEFAULT_PORTS:
        raise InvalidCall(
            f"{url!r} is no gateway address: write quantum://host:port, ws://host:port/ws"
            " or wss://host:port/ws"
        )
    try:
        port = DEFAULT_PORTS[scheme] if parts.port is None else parts.port
    except ValueError:
        raise InvalidCall(f"{url!r} has no valid port: it must be a number to 65535") from None
    host = parts.hostname or ""
    if not host or port == 0:
        raise InvalidCall(f"{url!r} lacks a host or a port above 0: write {scheme}://host:port")
    if scheme == "ws" and not _is_loopback(host):
        raise InvalidCall(
            f"{url!r} would send your password in clear over the network: use wss:// or quantum://"
            " (ws:// is for this machine only)"
        )
    if scheme == "quantum":
        given = pin or (parse_qs(parts.query).get("pin") or [""])[0]
        return Address(scheme, host, port, pin=_checked_pin(given))
    path = parts.path if parts.path not in ("", "/") else "/ws"
    return Address(scheme, host, port, path)


def _checked_pin(pin: str) -> str:
    text = pin.strip().lower()
    try:
        is_hex = len(bytes.fromhex(text)) * 2 == len(text) == _PIN_HEX_DIGITS
    except ValueError:
        is_hex = False
    if not is_hex:
        raise InvalidCall(
            "quantum:// needs pin=, the 64 hex digits of the gateway's public key, which the"
            f" gateway prints at its start; got {len(text)} characters"
        )
    return text


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
