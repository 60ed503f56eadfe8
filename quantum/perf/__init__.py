"""``quantum perf``: this transport beside others, on loopback, with every byte checked."""

from quantum.perf.command import main

__all__ = ["main"]
