"""The gateway's settings: every key with its unit, its default and what goes wrong beyond it.

Sources, the later wins: defaults, a YAML or TOML file, the environment
(``QUANTUM_GATEWAY__HTTP__PORT=8080``), the command line. An unknown key is an error.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import yaml

from gateway.limits import ClientLimits, Limits
from gateway.outbox import Policy
from svckit.config import ConfigError, load

PREFIX = "QUANTUM_GATEWAY__"


@dataclass(frozen=True)
class QuantumDoor:
    """The UDP door."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 4433
    """UDP port; 0 takes a free one."""


@dataclass(frozen=True)
class HttpDoor:
    """The TCP door, for HTTP and WebSocket."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8080
    """TCP port; 0 takes a free one."""
    origins: tuple[str, ...] = ()
    """Origins of web pages that may connect, as "https://app.example"; "*" is any."""


@dataclass(frozen=True)
class Auth:
    """Access and refresh tokens."""

    issuer: str = "quantum-gateway"
    audience: str = "quantum"
    access_s: int = 300
    """Life of an access token. Long: a stolen one serves for long."""
    refresh_s: int = 604_800
    """Life of a refresh token, from its last use."""
    logins_per_minute: float = 30.0
    """Logins, resumes and refreshes from one address, after a burst of as many."""


@dataclass(frozen=True)
class Services:
    """Where sessions and documents are kept: in this process, or behind gRPC."""

    session: str = "embedded"
    """"embedded", or "grpc://host:port"."""
    statesync: str = "embedded"
    """"embedded", or "grpc://host:port"."""
    store: Literal["memory", "sqlite"] = "sqlite"
    """The embedded services' store; memory loses everything with the process."""


@dataclass(frozen=True)
class ClientBounds:
    """The bounds of one client."""

    login_timeout_s: float = 10.0
    idle_timeout_s: float = 90.0
    stall_timeout_s: float = 20.0
    request_timeout_s: float = 15.0
    outbox_messages: int = 1024
    outbox_bytes: int = 4_194_304
    policy: Policy = Policy.DISCONNECT
    """For a client that does not keep up: disconnect, drop_oldest or coalesce."""
    requests_per_s: float = 5000.0
    """Requests of one client; a faster one is read more slowly."""
    http_requests_per_s: float = 200.0
    """HTTP requests from one address; more are refused with 429."""


@dataclass(frozen=True)
class DoorBounds:
    """The bounds of every door."""

    max_message_bytes: int = 1_048_576
    max_header_bytes: int = 16_384
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    max_connections: int = 10_000
    max_connections_per_ip: int = 256


@dataclass(frozen=True)
class Log:
    """Logs, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


@dataclass(frozen=True)
class GatewayConfig:
    """All settings."""

    mode: Literal["production", "dev"] = "production"
    """dev adds users with well-known passwords, and so may listen on loopback only."""
    node: str = ""
    """This process's name for people and logs; "" makes one."""
    data_dir: Path = Path("quantum-data")
    """Keys, users and databases; made with mode 0700."""
    users_file: Path | None = None
    """The accounts; none is users.yaml in data_dir."""
    drain_s: float = 10.0
    """Seconds that clients get to move when the process is asked to stop."""
    quantum: QuantumDoor = field(default_factory=QuantumDoor)
    http: HttpDoor = field(default_factory=HttpDoor)
    auth: Auth = field(default_factory=Auth)
    services: Services = field(default_factory=Services)
    client: ClientBounds = field(default_factory=ClientBounds)
    limits: DoorBounds = field(default_factory=DoorBounds)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        """Refuse what cannot work or would be unsafe. Raises ValueError."""
        for name, door in (("quantum", self.quantum), ("http", self.http)):
            if not 0 <= door.port <= 65_535:
                raise ValueError(f"{name}.port must be from 0 to 65535, not {door.port}")
            if self.mode == "dev" and door.enabled and not is_loopback(door.host):
                raise ValueError(
                    "mode dev has users with well-known passwords and may listen on loopback "
                    f"only, but {name}.host is {door.host}: set mode to production and add users "
                    "with 'quantum-gateway user add'"
                )
        if not self.quantum.enabled and not self.http.enabled:
            raise ValueError("quantum.enabled and http.enabled are both off: nothing would listen")
        for name in ("session", "statesync"):
            where = getattr(self.services, name)
            if where != "embedded" and not where.startswith("grpc://"):
                raise ValueError(
                    f"services.{name} must be 'embedded' or 'grpc://host:port', not {where!r}"
                )
        for name, least in (("access_s", 10), ("refresh_s", 60), ("logins_per_minute", 1)):
            if getattr(self.auth, name) < least:
                raise ValueError(f"auth.{name} must be at least {least}")
        for group, bounds in (("client", self.client), ("limits", self.limits)):
            for item in fields(bounds):
                value = getattr(bounds, item.name)
                if isinstance(value, int | float) and not value > 0:
                    raise ValueError(f"{group}.{item.name} must be above 0, not {value}")
        if self.limits.max_message_bytes > 16 << 20:
            raise ValueError("limits.max_message_bytes may be at most 16777216 (16 MiB)")

    @property
    def users_path(self) -> Path:
        """Where the accounts are."""
        return self.users_file or self.data_dir / "users.yaml"

    @property
    def door_limits(self) -> Limits:
        """The bounds as the doors take them."""
        return Limits(**asdict(self.limits))

    @property
    def client_limits(self) -> ClientLimits:
        """The bounds as clients take them."""
        bounds = self.client
        return ClientLimits(
            login_timeout_s=bounds.login_timeout_s,
            idle_timeout_s=bounds.idle_timeout_s,
            stall_timeout_s=bounds.stall_timeout_s,
            request_timeout_s=bounds.request_timeout_s,
            outbox_messages=bounds.outbox_messages,
            outbox_bytes=bounds.outbox_bytes,
            policy=bounds.policy,
        )


def load_config(file: Path | None = None, overrides: dict[str, Any] | None = None) -> GatewayConfig:
    """Return the settings from all sources. Raises `ConfigError`, one line for each fault."""
    return load(GatewayConfig, prefix=PREFIX, file=file, overrides=overrides)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach *host*."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def example() -> str:
    """Return a configuration file with every key at its default."""
    plain = yaml.safe_dump(_plain(GatewayConfig()), sort_keys=False)
    head = (
        "# quantum-gateway: every key at its default. Leave out what you do not change.\n"
        f"# Environment: {PREFIX}HTTP__PORT=8080 sets http.port. Check with: "
        "quantum-gateway validate FILE\n"
    )
    return head + plain


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Policy):
        return value.value
    return str(value) if isinstance(value, Path) else value


__all__ = ["PREFIX", "ConfigError", "GatewayConfig", "example", "is_loopback", "load_config"]
