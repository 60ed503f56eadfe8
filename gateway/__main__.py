"""``quantum-gateway``: serve, demo, validate, genconfig, version, user, token."""

import argparse
import asyncio
import getpass
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from uuid_utils.compat import uuid7

from gateway.about import DEV_PASSWORD, DEV_USERS, installed_version
from gateway.config import PREFIX, ConfigError, GatewayConfig, example, load_config
from gateway.families import SqliteFamilies
from gateway.tokens import KeySet, TokenIssuer
from gateway.users import UserFileError, UserStore
from svckit import logs
from svckit.clock import SystemClock
from svckit.lifecycle import TaskFailed

if TYPE_CHECKING:
    from gateway.app import Gateway

_EPILOG = """examples:
  quantum-gateway serve --dev              try it out on this machine, users alice and bob
  quantum-gateway genconfig > gateway.yaml
  quantum-gateway validate gateway.yaml
  quantum-gateway user add carol           asks for the password
  quantum-gateway serve --config gateway.yaml
"""


class _Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong, and where help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, 1 when it cannot run, or 2 for wrong input."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ConfigError, UserFileError, PermissionError, ValueError) as error:
        sys.stderr.write(f"quantum-gateway: {error}\n")
        return 2
    except (OSError, sqlite3.Error, TaskFailed) as error:
        sys.stderr.write(f"quantum-gateway: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="quantum-gateway",
        description="The front door: Quantum, WebSocket and HTTP on one identity and one session.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    run = verbs.add_parser("serve", help="run the gateway until SIGTERM or Ctrl-C")
    _add_config(run)
    run.add_argument("--dev", action="store_true", help="mode dev: users alice and bob, loopback")
    run.add_argument("--http-port", type=_port, metavar="N", help="TCP port; 0 takes a free one")
    run.add_argument("--quantum-port", type=_port, metavar="N", help="UDP port; 0 takes a free one")
    run.add_argument("--no-quantum", action="store_true", help="do not open the UDP door")
    run.add_argument("--store", choices=("memory", "sqlite"), help="the embedded services' store")
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    run.set_defaults(run=_serve)

    validate = verbs.add_parser("validate", help="check a configuration file")
    validate.add_argument("file", type=Path)
    validate.set_defaults(run=_validate)

    genconfig = verbs.add_parser("genconfig", help="print a configuration with every default")
    genconfig.set_defaults(run=_genconfig)

    version = verbs.add_parser("version", help="print the version")
    version.set_defaults(run=_version)

    user = verbs.add_parser("user", help="add, disable, enable or list users")
    actions = user.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="add a user, or set the password of one that exists")
    add.add_argument("name")
    add.add_argument("--email", default="")
    add.add_argument("--admin", action="store_true", help="may do everything")
    add.add_argument("--password-stdin", action="store_true", help="read the password from stdin")
    for name, text in (("disable", "close every door to a user"), ("enable", "open them again")):
        actions.add_parser(name, help=text).add_argument("name")
    actions.add_parser("list", help="print the users")
    for action in actions.choices.values():
        _add_config(action)
        action.set_defaults(run=_user)

    demo = verbs.add_parser("demo", help="watch two clients edit one text over a bad network")
    _add_demo(demo)

    token = verbs.add_parser("token", help="print an access token for a user")
    token.add_argument("name")
    token.add_argument("--seconds", type=int, default=3600, metavar="N", help="its life")
    _add_config(token)
    token.set_defaults(run=_token)
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    from gateway.demo import options  # the demo is not part of a gateway that serves

    options.add_arguments(parser)
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from gateway.demo.run import run

    return run(options)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"a YAML or TOML file; the environment ({PREFIX}HTTP__PORT=...) wins over it",
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="keys, users and databases")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:9]) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _config(options: argparse.Namespace) -> GatewayConfig:
    overrides: dict[str, Any] = {}
    if options.data_dir is not None:
        overrides["data_dir"] = options.data_dir
    if getattr(options, "dev", False):
        overrides["mode"] = "dev"
    for option, section, key in (
        ("http_port", "http", "port"),
        ("quantum_port", "quantum", "port"),
        ("store", "services", "store"),
        ("log_level", "log", "level"),
    ):
        if getattr(options, option, None) is not None:
            overrides.setdefault(section, {})[key] = getattr(options, option)
    if getattr(options, "no_quantum", False):
        overrides.setdefault("quantum", {})["enabled"] = False
    return load_config(options.config, overrides)


def _serve(options: argparse.Namespace) -> int:
    from gateway.app import serve  # everything, which the other verbs need not wait for

    config = _config(options)
    logs.configure(level=config.log.level, form=config.log.format)
    asyncio.run(serve(config, _announce))
    return 0


def _announce(gateway: "Gateway") -> None:
    lines = [f"quantum-gateway {installed_version()} {gateway.node}"]
    lines += [f"  {name:<10} {url}" for name, url in sorted(gateway.urls.items())]
    if gateway.config.mode == "dev":
        lines.append(f"  dev users: {', '.join(DEV_USERS)} (password {DEV_PASSWORD})")
    elif not len(gateway.users):
        lines.append("  no users yet; add one with: quantum-gateway user add NAME")
    sys.stdout.write("\n".join([*lines, "ready", ""]))
    sys.stdout.flush()


def _validate(options: argparse.Namespace) -> int:
    config = load_config(options.file)
    UserStore(config.users_path)
    sys.stdout.write(f"{options.file} is valid\n")
    return 0


def _genconfig(options: argparse.Namespace) -> int:
    sys.stdout.write(example())
    return 0


def _version(options: argparse.Namespace) -> int:
    sys.stdout.write(f"quantum-gateway {installed_version()}\n")
    return 0


def _user(options: argparse.Namespace) -> int:
    config = _config(options)
    users = UserStore(config.users_path)
    if options.action == "list":
        for user in users.all():
            marks = [*sorted(user.roles), *(["disabled"] if user.disabled else [])]
            sys.stdout.write(f"{user.username}\t{user.id}\t{' '.join(marks)}\n")
        return 0
    if options.action == "add":
        password = _password(options)
        roles = frozenset({"admin"}) if options.admin else frozenset()
        user = users.add(
            options.name, password, new_id=lambda: str(uuid7()), email=options.email, roles=roles
        )
        sys.stdout.write(f"{user.username} ({user.id}) is in {config.users_path}\n")
        return 0
    user = users.disable(options.name, options.action == "disable")
    sys.stdout.write(f"{user.username} is {'disabled' if user.disabled else 'enabled'}\n")
    return 0


def _password(options: argparse.Namespace) -> str:
    if options.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise ValueError("there is no terminal to ask for a password; use --password-stdin")
    password = getpass.getpass("password: ")
    if getpass.getpass("again: ") != password:
        raise ValueError("the two passwords differ")
    return password


def _token(options: argparse.Namespace) -> int:
    config = _config(options)
    if options.seconds < 1:
        raise ValueError("--seconds must be at least 1")
    user = UserStore(config.users_path).by_name(options.name)
    if user is None:
        raise UserFileError(f"there is no user {options.name!r} in {config.users_path}")
    families = SqliteFamilies(None)
    issuer = TokenIssuer(
        KeySet.load(config.data_dir / "jwt"),
        families,
        SystemClock(),
        issuer=config.auth.issuer,
        audience=config.auth.audience,
    )
    token = issuer.access_token(user.identity, lifetime_s=options.seconds)
    asyncio.run(families.close())
    sys.stdout.write(token + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
