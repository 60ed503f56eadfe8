"""The user store: a YAML file of names, argon2id hashes and roles, read again when it changes.

Passwords are checked off the event loop and a few at a time, because a check costs memory and time
on purpose. An unknown name costs the same as a wrong password.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.errors import Code, GatewayError
from gateway.identity import Identity
from gateway.secret_files import write_secret

MAX_NAME = 64
MAX_PASSWORD_BYTES = 1024
MIN_PASSWORD = 8
_CHECKS_AT_ONCE = 4
_CHECKS_WAITING = 256
_FIELDS = {"id", "username", "password_hash", "email", "roles", "disabled"}


@dataclass(frozen=True, slots=True)
class User:
    """One account."""

    id: str
    username: str
    password_hash: str = field(repr=False)
    email: str = ""
    roles: frozenset[str] = frozenset()
    disabled: bool = False

    @property
    def identity(self) -> Identity:
        """Who this user is, for the rest of the gateway."""
        return Identity(self.id, self.username, self.email, self.roles)


class UserFileError(ValueError):
    """The users file is wrong; the message says where and how to mend it."""


class UserStore:
    """The accounts in one file."""

    def __init__(self, path: Path | None, *, hasher: PasswordHasher | None = None) -> None:
        """Read *path*; None, or no such file, means no users. Raises `UserFileError`."""
        self._path = path
        self._hasher = hasher or PasswordHasher()
        self._decoy = self._hasher.hash("no user has this password")
        self._users: dict[str, User] = {}
        self._by_id: dict[str, User] = {}
        self._stamp: tuple[int, int] | None = None
        self._slots = asyncio.Semaphore(_CHECKS_AT_ONCE)
        self._waiting = 0
        self.reload()

    def reload(self) -> list[str]:
        """Read the file again if it changed; returns the ids of users disabled or gone since."""
        if self._path is None:
            return []
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return []
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp == self._stamp:
            return []
        before = {user.id for user in self._users.values() if not user.disabled}
        self._set(_parse(self._path))
        self._stamp = stamp
        return sorted(before - {user.id for user in self._users.values() if not user.disabled})

    def add(
        self,
        username: str,
        password: str,
        *,
        new_id: Callable[[], str],
        email: str = "",
        roles: frozenset[str] = frozenset(),
    ) -> User:
        """Add a user, or set the password of one that exists, and save. Raises `UserFileError`."""
        check_username(username)
        if len(password) < MIN_PASSWORD:
            raise UserFileError(f"a password needs at least {MIN_PASSWORD} characters")
        if len(password.encode()) > MAX_PASSWORD_BYTES:
            raise UserFileError(f"a password may have {MAX_PASSWORD_BYTES} bytes")
        known = self._users.get(username)
        hashed = self._hasher.hash(password)
        if known is not None:
            user = replace(known, password_hash=hashed, roles=roles or known.roles)
        else:
            user = User(new_id(), username, hashed, email, roles)
        self._set([*(u for u in self._users.values() if u.username != username), user])
        self._save()
        return user

    def disable(self, username: str, disabled: bool = True) -> User:
        """Disable or enable a user and save. Raises `UserFileError` for one that is not there."""
        known = self._users.get(username)
        if known is None:
            raise UserFileError(f"there is no user {username!r}")
        user = replace(known, disabled=disabled)
        self._set([user if u.username == username else u for u in self._users.values()])
        self._save()
        return user

    async def check(self, username: str, password: str) -> User:
        """Return the user whose password this is. Raises `GatewayError`."""
        refused = GatewayError(Code.UNAUTHENTICATED, "the username or the password is wrong")
        if len(password.encode(errors="replace")) > MAX_PASSWORD_BYTES:
            raise refused
        if self._waiting >= _CHECKS_WAITING:
            raise GatewayError(
                Code.RATE_LIMITED, "too many logins at once; try again", retry_after_ms=1000
            )
        user = self._users.get(username)
        hashed = user.password_hash if user is not None else self._decoy
        self._waiting += 1
        try:
            async with self._slots:
                is_right = await asyncio.to_thread(self._verify, hashed, password)
        finally:
            self._waiting -= 1
        if not is_right or user is None:
            raise refused
        if user.disabled:
            raise GatewayError(Code.FORBIDDEN, "this account is disabled")
        return user

    def find(self, user_id: str) -> Identity | None:
        """Return who has this id, unless the account is disabled or gone."""
        user = self._by_id.get(user_id)
        return user.identity if user is not None and not user.disabled else None

    def by_name(self, username: str) -> User | None:
        """Return the account of this name, disabled or not."""
        return self._users.get(username)

    def all(self) -> list[User]:
        """Return every account in order of name."""
        return sorted(self._users.values(), key=lambda user: user.username)

    def __len__(self) -> int:
        return len(self._users)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def _set(self, users: list[User]) -> None:
        self._users = {user.username: user for user in users}
        self._by_id = {user.id: user for user in users}

    def _save(self) -> None:
        if self._path is None:
            return
        users = [_to_plain(user) for user in self.all()]
        write_secret(self._path, yaml.safe_dump({"users": users}, sort_keys=False).encode())
        status = self._path.stat()
        self._stamp = (status.st_mtime_ns, status.st_size)


def check_username(username: str) -> None:
    """Refuse a name that could not be typed or shown. Raises `UserFileError`."""
    allowed = username.replace(".", "").replace("-", "").replace("_", "").replace("@", "")
    if not 0 < len(username) <= MAX_NAME or not allowed.isalnum():
        raise UserFileError(
            f"a username has 1 to {MAX_NAME} letters, digits, dots, dashes, underscores or @"
        )


def _to_plain(user: User) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": user.id,
        "username": user.username,
        "password_hash": user.password_hash,
    }
    if user.email:
        plain["email"] = user.email
    if user.roles:
        plain["roles"] = sorted(user.roles)
    if user.disabled:
        plain["disabled"] = True
    return plain


def _parse(path: Path) -> list[User]:
    try:
        loaded = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserFileError(f"{path} is not valid YAML: {error}") from None
    entries = loaded.get("users") if isinstance(loaded, dict) else None
    if not isinstance(entries, list):
        raise UserFileError(f"{path} must have a list under the key 'users'")
    return [_parse_user(path, number, entry) for number, entry in enumerate(entries, 1)]


def _parse_user(path: Path, number: int, entry: Any) -> User:
    where = f"{path}, user {number}"
    if not isinstance(entry, dict):
        raise UserFileError(f"{where} must be a mapping with id, username and password_hash")
    unknown = sorted(set(map(str, entry)) - _FIELDS)
    if unknown:
        raise UserFileError(f"{where} has the unknown key {unknown[0]!r}; known: {sorted(_FIELDS)}")
    for name in ("id", "username", "password_hash"):
        if not isinstance(entry.get(name), str) or not entry[name]:
            raise UserFileError(f"{where} needs {name!r} (use: quantum-gateway user add)")
    if not entry["password_hash"].startswith("$argon2id$"):
        raise UserFileError(
            f"{where}: password_hash must be an argon2id hash, never a password "
            "(use: quantum-gateway user add)"
        )
    roles = entry.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise UserFileError(f"{where}: roles must be a list of names")
    return User(
        entry["id"],
        entry["username"],
        entry["password_hash"],
        str(entry.get("email", "")),
        frozenset(roles),
        bool(entry.get("disabled", False)),
    )
