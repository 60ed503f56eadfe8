"""The user store: what its file may say, and whom it believes."""

from pathlib import Path

import pytest
from argon2 import PasswordHasher

from gateway.errors import Code, GatewayError
from gateway.users import UserFileError, UserStore

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def store(path: Path) -> UserStore:
    return UserStore(path, hasher=CHEAP)


def add(users: UserStore, name: str, password: str = "right password") -> str:
    return users.add(name, password, new_id=lambda: f"id-{name}").id


async def test_the_right_password_is_believed_and_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    add(store(path), "alice")
    assert path.stat().st_mode & 0o777 == 0o600
    assert "right password" not in path.read_text()
    user = await store(path).check("alice", "right password")
    assert user.identity.username == "alice"


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong"), ("nobody", "right password"), ("alice", "x" * 2000)]
)
async def test_a_wrong_name_and_a_wrong_password_sound_the_same(
    tmp_path: Path, name: str, password: str
) -> None:
    users = store(tmp_path / "users.yaml")
    add(users, "alice")
    with pytest.raises(GatewayError, match="the username or the password is wrong") as caught:
        await users.check(name, password)
    assert caught.value.code is Code.UNAUTHENTICATED


async def test_a_disabled_user_is_refused_and_no_longer_found(tmp_path: Path) -> None:
    users = store(tmp_path / "users.yaml")
    user_id = add(users, "alice")
    assert users.find(user_id) is not None
    users.disable("alice")
    assert users.find(user_id) is None
    with pytest.raises(GatewayError, match="disabled"):
        await users.check("alice", "right password")


def test_a_change_of_the_file_is_noticed_and_names_who_is_out(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    here, elsewhere = store(path), store(path)
    user_id = add(elsewhere, "alice")
    assert here.reload() == []
    assert here.find(user_id) is not None
    elsewhere.disable("alice")
    assert here.reload() == [user_id]
    assert here.reload() == []


def test_adding_again_sets_the_password_and_keeps_the_id(tmp_path: Path) -> None:
    users = store(tmp_path / "users.yaml")
    first = add(users, "alice")
    again = users.add("alice", "another password", new_id=lambda: "never")
    assert again.id == first
    assert len(users) == 1


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 65, "a\nb", "<script>"])
def test_an_unusable_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserFileError, match="a username has 1 to 64"):
        add(store(tmp_path / "users.yaml"), name)


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserFileError, match="at least 8"):
        add(store(tmp_path / "users.yaml"), "alice", "short")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[", "not valid YAML"),
        ("- a", "must have a list under the key 'users'"),
        ("users: 7", "must have a list under the key 'users'"),
        ("users: [7]", "user 1 must be a mapping"),
        ("users: [{id: a, username: b}]", "user 1 needs 'password_hash'"),
        ("users: [{id: a, username: b, password_hash: secret}]", "must be an argon2id hash"),
        ("users: [{id: a, username: b, password: c}]", "unknown key 'password'"),
        ("users: [{id: 7, username: b, password_hash: $argon2id$}]", "needs 'id'"),
        ("users: [{id: a, username: b, password_hash: $argon2id$, roles: x}]", "list of names"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(text)
    with pytest.raises(UserFileError, match=sentence):
        store(path)


async def test_a_flood_of_logins_is_refused_rather_than_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = store(tmp_path / "users.yaml")
    monkeypatch.setattr(users, "_waiting", 256)
    with pytest.raises(GatewayError, match="too many logins") as caught:
        await users.check("alice", "right password")
    assert caught.value.retry
