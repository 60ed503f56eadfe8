"""Access tokens (JWT, EdDSA) and refresh tokens (opaque, rotated, a family revoked on reuse).

Keys are local: a token names one by ``kid``, and every key has exactly one algorithm. A header that
brings or points to a key of its own is refused. It knows no user beyond what a token says.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from gateway.errors import Code, GatewayError
from gateway.identity import Identity
from gateway.secret_files import read_secret, write_secret
from svckit.clock import Clock

ALGORITHM = "EdDSA"
TOKEN_TYPE = "at+jwt"
MAX_TOKEN_BYTES = 8192
_FOREIGN_KEYS = ("crit", "jku", "jwk", "x5c", "x5u")
_LEEWAY_S = 5
_GRACE_S = 10.0


class TokenRefused(GatewayError):
    """A token that was not accepted; the reason does not say more than an attacker may know."""

    def __init__(self, reason: str) -> None:
        super().__init__(Code.UNAUTHENTICATED, reason)


class KeySet:
    """The keys that sign and check access tokens; the newest signs."""

    def __init__(self, keys: dict[str, Ed25519PrivateKey], signing: str) -> None:
        self._keys = keys
        self._signing = signing

    @classmethod
    def generate(cls) -> "KeySet":
        """Return a set with one new key."""
        key = Ed25519PrivateKey.generate()
        kid = _thumbprint(key)
        return cls({kid: key}, kid)

    @classmethod
    def load(cls, folder: Path) -> "KeySet":
        """Return the keys in *folder* (``*.pem``, mode 0600), making the first if there is none.

        The last in order of name signs. Raises ValueError for a file that is no such key.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = sorted(folder.glob("*.pem"))
        if not files:
            key = Ed25519PrivateKey.generate()
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_secret(folder / "0001.pem", pem)
            files = [folder / "0001.pem"]
        keys: dict[str, Ed25519PrivateKey] = {}
        for file in files:
            loaded = load_pem_private_key(read_secret(file), password=None)
            if not isinstance(loaded, Ed25519PrivateKey):
                raise ValueError(f"{file} must hold an Ed25519 private key")
            keys[_thumbprint(loaded)] = loaded
        return cls(keys, list(keys)[-1])

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a signed token with *claims*."""
        headers = {"kid": self._signing, "typ": TOKEN_TYPE}
        return jwt.encode(claims, self._keys[self._signing], ALGORITHM, headers=headers)

    def verify(self, token: str, *, issuer: str, audience: str) -> dict[str, Any]:
        """Return the claims of a token that one of our keys signed; its times are not checked.

        Raises `TokenRefused`.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenRefused(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise TokenRefused("the token is not a JWT") from None
        if any(name in header for name in _FOREIGN_KEYS):
            raise TokenRefused("the token's header brings a key or an extension of its own")
        if header.get("alg") != ALGORITHM or header.get("typ") != TOKEN_TYPE:
            raise TokenRefused(f"the token must be of type {TOKEN_TYPE} with algorithm {ALGORITHM}")
        key = self._keys.get(str(header.get("kid")))
        if key is None:
            raise TokenRefused("the token was not signed by this gateway")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public_key(),
                algorithms=[ALGORITHM],
                issuer=issuer,
                audience=audience,
                options={
                    "require": ["aud", "exp", "iat", "iss", "nbf", "sub"],
                    "verify_exp": False,  # times are checked by our own clock
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidTokenError:
            raise TokenRefused("the token's signature, issuer or audience is wrong") from None
        return claims


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login or a refresh gives."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_s: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class Family:
    """The refresh tokens that descend from one login. Only hashes are kept.

    *family* is the hash of the handle that a refresh token begins with, so it may be shown (as the
    access token's ``sid``) without letting anybody name the family.
    """

    family: str
    user_id: str
    username: str
    current_hash: str
    expires_at_ns: int


class FamilyStore(Protocol):
    """Where families are kept."""

    async def get(self, family: str) -> Family | None:
        """Return a family."""
        ...

    async def put(self, family: Family) -> None:
        """Add or replace a family."""
        ...

    async def swap(self, family: Family, expected_hash: str) -> bool:
        """Replace a family if its current hash is *expected_hash*; say whether it was."""
        ...

    async def delete(self, family: str) -> None:
        """Revoke a family; twice is no error."""
        ...

    async def delete_user(self, user_id: str) -> None:
        """Revoke every family of a user."""
        ...

    async def delete_expired(self, now_ns: int) -> None:
        """Forget what has expired."""
        ...


class TokenIssuer:
    """Gives tokens and believes them."""

    def __init__(
        self,
        keys: KeySet,
        families: FamilyStore,
        clock: Clock,
        *,
        issuer: str = "quantum-gateway",
        audience: str = "quantum",
        access_s: int = 300,
        refresh_s: int = 604_800,
        secret: Callable[[], str] = lambda: secrets.token_urlsafe(32),
    ) -> None:
        self._keys = keys
        self._families = families
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._access_s = access_s
        self._refresh_s = refresh_s
        self._secret = secret
        self._successors: dict[str, tuple[int, TokenPair]] = {}

    async def issue(self, identity: Identity) -> TokenPair:
        """Begin a new family for a user that has just logged in."""
        handle, secret = secrets.token_urlsafe(16), self._secret()
        await self._families.put(self._record(handle, identity, secret))
        return self._pair(identity, handle, secret)

    async def refresh(self, token: str, find: Callable[[str], Identity | None]) -> TokenPair:
        """Trade a refresh token for the next pair; *find* gives the user as it is now, or None.

        A token used twice within 10 s gets the same successor (a client that missed the answer);
        later it is theft, and the whole family is revoked. Raises `TokenRefused`.
        """
        handle, _, secret = token.partition(".")
        family = _family(handle)
        record = await self._families.get(family) if len(token) <= 256 else None
        now_ns = self._clock.wall_ns()
        if record is None or not secret or record.expires_at_ns <= now_ns:
            raise TokenRefused("the refresh token is unknown, revoked or expired; log in again")
        identity = find(record.user_id)
        if identity is None:
            await self._families.delete(family)
            raise TokenRefused("the account is disabled or gone")
        given = _hash(secret)
        if hmac.compare_digest(given, record.current_hash):
            fresh = self._secret()
            after = self._record(handle, identity, fresh)
            if await self._families.swap(after, given):
                pair = self._pair(identity, handle, fresh)
                self._remember(given, pair)
                return pair
        known = self._successors.get(given)
        if known is not None and self._clock.monotonic_ns() - known[0] <= _GRACE_S * 1e9:
            return known[1]
        await self._families.delete(family)
        raise TokenRefused("the refresh token was used before; log in again")

    def check(self, token: str) -> Identity:
        """Return whom an access token names. Raises `TokenRefused`."""
        claims = self._keys.verify(token, issuer=self._issuer, audience=self._audience)
        now_s = self._clock.wall_ns() / 1e9
        try:
            expires_s, begins_s = float(claims["exp"]), float(claims["nbf"])
            roles = frozenset(str(role) for role in claims.get("roles", ()))
        except (TypeError, ValueError):
            raise TokenRefused("the token's claims have the wrong types") from None
        if now_s > expires_s + _LEEWAY_S:
            raise TokenRefused("the token has expired; refresh it")
        if now_s < begins_s - _LEEWAY_S:
            raise TokenRefused("the token is not valid yet; check the clocks")
        return Identity(
            user_id=str(claims["sub"]),
            username=str(claims.get("username", "")),
            email=str(claims.get("email", "")),
            roles=roles,
            family=str(claims.get("sid", "")),
        )

    async def revoke(self, identity: Identity) -> None:
        """End the login that an identity's tokens descend from."""
        if identity.family:
            await self._families.delete(identity.family)

    def access_token(self, identity: Identity, *, lifetime_s: int | None = None) -> str:
        """Return an access token alone, for a tool or a test."""
        now_s = self._clock.wall_ns() // 1_000_000_000
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": identity.user_id,
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + (self._access_s if lifetime_s is None else lifetime_s),
            "jti": secrets.token_urlsafe(12),
            "sid": identity.family,
            "username": identity.username,
            "email": identity.email,
            "roles": sorted(identity.roles),
        }
        return self._keys.sign(claims)

    async def sweep(self) -> None:
        """Forget expired families and successors past their grace."""
        await self._families.delete_expired(self._clock.wall_ns())
        oldest_ns = self._clock.monotonic_ns() - int(_GRACE_S * 1e9)
        for given, (at_ns, _) in list(self._successors.items()):
            if at_ns < oldest_ns:
                del self._successors[given]

    def _record(self, handle: str, identity: Identity, secret: str) -> Family:
        expires_at_ns = self._clock.wall_ns() + self._refresh_s * 1_000_000_000
        return Family(
            _family(handle), identity.user_id, identity.username, _hash(secret), expires_at_ns
        )

    def _pair(self, identity: Identity, handle: str, secret: str) -> TokenPair:
        named = replace(identity, family=_family(handle))
        return TokenPair(self.access_token(named), f"{handle}.{secret}", self._access_s, named)

    def _remember(self, given: str, pair: TokenPair) -> None:
        if len(self._successors) >= 10_000:
            self._successors.pop(next(iter(self._successors)))
        self._successors[given] = (self._clock.monotonic_ns(), pair)


def _family(handle: str) -> str:
    return _hash(handle)[:32]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _thumbprint(key: Ed25519PrivateKey) -> str:
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(public).hexdigest()[:16]
