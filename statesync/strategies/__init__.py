"""The conflict strategies there are: one line each."""

from statesync.strategy import Strategy
from svckit.registry import Registry

STRATEGIES: Registry[Strategy] = Registry(
    "conflict strategy",
    "quantum.strategies",
    {
        "last_writer_wins": "statesync.strategies.last_writer_wins:LastWriterWins",
        "manual": "statesync.strategies.manual:Manual",
        "merge": "statesync.strategies.merge:Merge",
        "text": "statesync.strategies.text:TextStrategy",
    },
)
