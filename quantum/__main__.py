"""The command ``quantum``: keys, a ping, a look at the machine, a measurement.

Knows arguments and exit statuses; each verb's work is in a module of its own that is imported when
the verb is asked for. Exit status: 0 done, 1 it did not work (one sentence says why), 2 bad usage.
"""

import argparse
import asyncio
import importlib.metadata
import json
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

Verb = Callable[[argparse.Namespace], int]


class Refusal(Exception):
    """What was asked for cannot be done; the message says why and how to mend it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["perf"]:
        from quantum import perf

        return perf.main(arguments[1:])
    options = parser().parse_args(arguments)
    verb: Verb = options.verb
    try:
        return verb(options)
    except Refusal as refusal:
        print(f"quantum: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="quantum",
        description="An encrypted, reliable transport over UDP: keys, diagnosis and measurement.",
        epilog="`quantum VERB --help` says more about a verb.",
    )
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)

    verb = verbs.add_parser(
        "keygen",
        help="make a server's identity and print its pin",
        description="Write a new Ed25519 identity, readable by its owner alone, and print the pin "
        "that clients need. An existing file is never overwritten.",
    )
    verb.add_argument("file", type=Path, help="where the identity is kept")
    verb.add_argument("--show", action="store_true", help="print the pin of an existing file")
    verb.set_defaults(verb=keygen)

    verb = verbs.add_parser(
        "ping",
        help="measure round trips to a Quantum server",
        description="Connect again and again, and print how long the handshake took and what the "
        "transport then measured as round trip. Exit status 1 when no attempt succeeded.",
    )
    verb.add_argument("address", type=address, help="HOST:PORT; an IPv6 host in [brackets]")
    verb.add_argument(
        "--pin", type=pin, required=True, help="the server's public key, 64 hex digits"
    )
    verb.add_argument("--count", type=count, default=4, metavar="N", help="attempts (default 4)")
    verb.add_argument(
        "--interval",
        type=seconds,
        default=0.2,
        metavar="S",
        help="pause between them (default 0.2)",
    )
    verb.add_argument(
        "--timeout", type=seconds, default=5.0, metavar="S", help="limit for each (default 5)"
    )
    verb.set_defaults(verb=ping)

    verb = verbs.add_parser(
        "doctor",
        help="look at this machine: buffers, GSO and GRO, clock, entropy, open files, kernel",
        description="Check what the transport needs from the machine and say how to mend what is "
        "not well. Exit status 1 when something does not work at all.",
    )
    verb.add_argument("--json", action="store_true", help="print one JSON document")
    verb.set_defaults(verb=doctor)

    verbs.add_parser(
        "perf",
        help="measure throughput and latency here, beside TCP and QUIC in the same run",
        add_help=False,
    )

    verb = verbs.add_parser("version", help="print the versions of what is running")
    verb.set_defaults(verb=version)
    return top


def address(text: str) -> str:
    """Check HOST:PORT and return it."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not HOST:PORT, such as 127.0.0.1:4433 or [::1]:4433"
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{port!r} is not a port: give a number from 1 to 65535")
    return text


def pin(text: str) -> str:
    """Check a pin, 32 bytes in hex, and return it in lower case."""
    try:
        size = len(bytes.fromhex(text))
    except ValueError:
        size = 0
    if size != 32:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a pin: give the 64 hex digits that `quantum keygen` printed"
        )
    return text.lower()


def count(text: str) -> int:
    """Check a number of attempts."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")
    return int(text)


def seconds(text: str) -> float:
    """Check a duration in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a duration: give seconds, above 0 and up to 3600"
        )
    return value


def keygen(options: argparse.Namespace) -> int:
    """Write an identity, or show the pin of one."""
    from quantum import Identity

    file: Path = options.file
    try:
        if options.show:
            print(Identity.load(file).pin)
            return 0
        identity = Identity.generate()
        identity.save(file)
    except FileExistsError as error:
        hint = "choose another name, or --show its pin"
        raise Refusal(f"{file} exists and was left alone; {hint}") from error
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise Refusal(str(error)) from error
    print(identity.pin)
    print(
        f"{file} is the secret half: keep it on the server; clients get the pin above",
        file=sys.stderr,
    )
    return 0


def ping(options: argparse.Namespace) -> int:
    """Measure handshakes and round trips."""
    from quantum import ping as probe

    return asyncio.run(
        probe.run(
            options.address,
            options.pin,
            count=options.count,
            interval_s=options.interval,
            timeout_s=options.timeout,
            say=print,
        )
    )


def doctor(options: argparse.Namespace) -> int:
    """Print what was found about this machine."""
    from quantum import doctor as machine

    findings = machine.examine()
    if options.json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
    return 1 if any(finding.verdict == "fail" for finding in findings) else 0


def version(options: argparse.Namespace) -> int:
    """Print the versions of the project, of Python and of the native build."""
    from quantum import doctor as machine

    try:
        own = importlib.metadata.version("quantum-gateway")
    except importlib.metadata.PackageNotFoundError:
        own = "(not installed: run `make setup`)"
    print(f"quantum {own}, Python {platform.python_version()}, {machine.native_build()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
