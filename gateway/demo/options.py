"""The demo's command line, apart from the demo, so that reading it loads nothing."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the demo."""
    parser.add_argument(
        "--seconds", type=_seconds, default=20.0, metavar="S", help="of typing (default 20)"
    )
    parser.add_argument(
        "--loss", type=_share, default=0.05, metavar="SHARE", help="each way (default 5%%)"
    )
    parser.add_argument(
        "--delay", type=_duration_ns, default=25_000_000, metavar="TIME", help="each way (25ms)"
    )
    parser.add_argument("--seed", type=_count, default=1, metavar="N", help="of all chance")
    parser.add_argument(
        "--serve", action="store_true", help="keep the gateway up afterwards, until Ctrl-C"
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 3600")
    return value


def _share(text: str) -> float:
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share up to a half: 5% or 0.05")
    return value


def _duration_ns(text: str) -> int:
    number, scale = (text[:-2], 1e6) if text.endswith("ms") else (text.removesuffix("s"), 1e9)
    try:
        value = float(number) * scale
    except ValueError:
        value = -1.0
    if not (text.endswith("s") and 0 <= value <= 2e9):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time up to 2 s, such as 25ms")
    return int(value)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)
