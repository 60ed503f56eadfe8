"""Access tokens are believed for one reason only; refresh tokens are used once."""

import asyncio
import json
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.families import SqliteFamilies
from gateway.identity import Identity
from gateway.tokens import KeySet, TokenIssuer, TokenRefused
from tests.support.gateway_clock import ManualClock

ALICE = Identity("u1", "alice", "a@example.org", frozenset({"admin"}))


class Desk:
    """An issuer with its clock and keys."""

    def __init__(self, families: SqliteFamilies) -> None:
        self.clock = ManualClock()
        self.keys = KeySet.generate()
        self.families = families
        self.issuer = TokenIssuer(self.keys, families, self.clock, access_s=300, refresh_s=3600)

    def claims(self, **changed: Any) -> dict[str, Any]:
        now_s = self.clock.wall_ns() // 10**9
        claims = {
            "iss": "quantum-gateway",
            "aud": "quantum",
            "sub": "u1",
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + 300,
        }
        return {k: v for k, v in {**claims, **changed}.items() if v is not None}


@pytest.fixture
async def desk() -> Any:
    families = SqliteFamilies(None)
    yield Desk(families)
    await families.close()


def find(user_id: str) -> Identity | None:
    return ALICE if user_id == "u1" else None


async def test_a_login_gives_a_token_that_names_its_user(desk: Desk) -> None:
    pair = await desk.issuer.issue(ALICE)
    who = desk.issuer.check(pair.access_token)
    assert (who.user_id, who.username, who.roles) == ("u1", "alice", {"admin"})
    assert who.family
    assert who.family not in pair.refresh_token
    assert pair.access_token not in repr(pair)


async def test_a_token_expires_by_the_clock_that_was_given(desk: Desk) -> None:
    token = desk.issuer.access_token(ALICE)
    desk.clock.advance(304)
    desk.issuer.check(token)
    desk.clock.advance(2)
    with pytest.raises(TokenRefused, match="expired"):
        desk.issuer.check(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"aud": None},
        {"iss": "other"},
        {"iss": None},
        {"sub": None},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": 99_999_999_999},
        {"nbf": None},
        {"exp": 1},
        {"roles": 7},
        {"sub": 7},
    ],
)
def test_wrong_claims_are_refused(desk: Desk, claims: dict[str, Any]) -> None:
    token = desk.keys.sign(desk.claims(**claims))
    with pytest.raises(TokenRefused):
        desk.issuer.check(token)


@pytest.mark.parametrize(
    "headers",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"kid": "unknown"},
        {"kid": ""},
        {"crit": ["exp"]},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"jwk": {"kty": "OKP"}},
        {"x5c": []},
    ],
)
def test_a_header_with_other_ideas_is_refused(desk: Desk, headers: dict[str, Any]) -> None:
    [(kid, key)] = desk.keys._keys.items()
    token = jwt.encode(
        desk.claims(), key, "EdDSA", headers={"kid": kid, "typ": "at+jwt", **headers}
    )
    with pytest.raises(TokenRefused):
        desk.issuer.check(token)


def forge(desk: Desk, header: dict[str, Any], signature: bytes = b"") -> str:
    pieces = [json.dumps(header).encode(), json.dumps(desk.claims()).encode(), signature]
    return b".".join(urlsafe_b64encode(piece).rstrip(b"=") for piece in pieces).decode()


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "RS256", "ES256", "", None])
def test_another_algorithm_is_refused(desk: Desk, algorithm: str | None) -> None:
    [kid] = desk.keys._keys
    for signature in (b"", b"x" * 64):
        token = forge(desk, {"alg": algorithm, "kid": kid, "typ": "at+jwt"}, signature)
        with pytest.raises(TokenRefused):
            desk.issuer.check(token)


def test_a_public_key_used_as_a_shared_secret_is_refused(desk: Desk) -> None:
    [(kid, key)] = desk.keys._keys.items()
    secret = key.public_key().public_bytes_raw()
    token = jwt.encode(desk.claims(), secret, "HS256", headers={"kid": kid, "typ": "at+jwt"})
    with pytest.raises(TokenRefused):
        desk.issuer.check(token)


def test_a_strangers_signature_is_refused(desk: Desk) -> None:
    [kid] = desk.keys._keys
    stranger = Ed25519PrivateKey.generate()
    token = jwt.encode(desk.claims(), stranger, "EdDSA", headers={"kid": kid, "typ": "at+jwt"})
    with pytest.raises(TokenRefused, match="signature"):
        desk.issuer.check(token)


@pytest.mark.parametrize("token", ["", "a.b", "....", "x" * 9000, "é.é.é", "\x00"])
def test_what_is_no_token_is_refused(desk: Desk, token: str) -> None:
    with pytest.raises(TokenRefused):
        desk.issuer.check(token)


def test_a_changed_byte_anywhere_is_refused(desk: Desk) -> None:
    token = desk.issuer.access_token(ALICE)
    for place in range(0, len(token) - 1, 7):
        if token[place] == ".":
            continue
        other = "A" if token[place] != "A" else "B"
        with pytest.raises(TokenRefused):
            desk.issuer.check(token[:place] + other + token[place + 1 :])


async def test_a_refresh_rotates(desk: Desk) -> None:
    first = await desk.issuer.issue(ALICE)
    second = await desk.issuer.refresh(first.refresh_token, find)
    third = await desk.issuer.refresh(second.refresh_token, find)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert desk.issuer.check(third.access_token).user_id == "u1"


async def test_a_token_reused_after_the_grace_revokes_the_family(desk: Desk) -> None:
    first = await desk.issuer.issue(ALICE)
    second = await desk.issuer.refresh(first.refresh_token, find)
    desk.clock.advance(11)
    with pytest.raises(TokenRefused, match="used before"):
        await desk.issuer.refresh(first.refresh_token, find)
    with pytest.raises(TokenRefused, match="revoked"):
        await desk.issuer.refresh(second.refresh_token, find)


async def test_a_hundred_racing_refreshes_have_one_successor(desk: Desk) -> None:
    first = await desk.issuer.issue(ALICE)
    pairs = await asyncio.gather(
        *(desk.issuer.refresh(first.refresh_token, find) for _ in range(100))
    )
    assert len({pair.refresh_token for pair in pairs}) == 1
    await desk.issuer.refresh(pairs[0].refresh_token, find)


async def test_a_refresh_token_expires(desk: Desk) -> None:
    pair = await desk.issuer.issue(ALICE)
    desk.clock.advance(3601)
    with pytest.raises(TokenRefused, match="expired"):
        await desk.issuer.refresh(pair.refresh_token, find)


async def test_a_disabled_user_gets_no_successor(desk: Desk) -> None:
    pair = await desk.issuer.issue(ALICE)
    with pytest.raises(TokenRefused, match="disabled"):
        await desk.issuer.refresh(pair.refresh_token, lambda user_id: None)


@pytest.mark.parametrize("token", ["", ".", "a.b", "é.é", "x" * 10_000, "\ud800.x"])
async def test_what_is_no_refresh_token_is_refused(desk: Desk, token: str) -> None:
    with pytest.raises(TokenRefused):
        await desk.issuer.refresh(token, find)


async def test_a_logout_revokes_the_family(desk: Desk) -> None:
    pair = await desk.issuer.issue(ALICE)
    await desk.issuer.revoke(desk.issuer.check(pair.access_token))
    with pytest.raises(TokenRefused):
        await desk.issuer.refresh(pair.refresh_token, find)


async def test_a_restart_keeps_families_and_no_secret_in_clear(tmp_path: Path) -> None:
    path = tmp_path / "refresh.sqlite"
    families = SqliteFamilies(path)
    desk = Desk(families)
    pair = await desk.issuer.issue(ALICE)
    await families.close()
    secret = pair.refresh_token.partition(".")[2].encode()
    assert secret not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    families = SqliteFamilies(path)
    after = TokenIssuer(desk.keys, families, desk.clock)
    assert (await after.refresh(pair.refresh_token, find)).refresh_token
    await families.close()


async def test_a_sweep_forgets_what_has_expired(desk: Desk) -> None:
    first = await desk.issuer.issue(ALICE)
    await desk.issuer.refresh(first.refresh_token, find)
    assert await desk.families.get(first.identity.family) is not None
    desk.clock.advance(10_000)
    await desk.issuer.sweep()
    assert not desk.issuer._successors
    assert await desk.families.get(first.identity.family) is None


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    folder = tmp_path / "jwt"
    claims = {"iss": "i", "aud": "a", "sub": "s", "iat": 1, "nbf": 1, "exp": 9}
    token = KeySet.load(folder).sign(claims)
    assert KeySet.load(folder).verify(token, issuer="i", audience="a")["sub"] == "s"
    [file] = folder.glob("*.pem")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    KeySet.load(tmp_path)
    (tmp_path / "0001.pem").chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        KeySet.load(tmp_path)


def test_an_older_key_is_still_believed_and_the_newest_signs(tmp_path: Path) -> None:
    claims = {"iss": "i", "aud": "a", "sub": "s", "iat": 1, "nbf": 1, "exp": 9}
    old = KeySet.load(tmp_path).sign(claims)
    other = tmp_path / "other"
    KeySet.load(other)
    (other / "0001.pem").rename(tmp_path / "0002.pem")
    both = KeySet.load(tmp_path)
    assert both.verify(old, issuer="i", audience="a")
    new = both.sign(claims)
    assert jwt.get_unverified_header(new)["kid"] != jwt.get_unverified_header(old)["kid"]
