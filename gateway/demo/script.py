"""Scripted typists: seeded, so that a demo can be repeated. Pure: text in, patches out.

Each typist keeps to a line of its own most of the time, and now and then writes into the line that
both share, at the same place as the other: there the two texts must merge.
"""

from random import Random

Patch = tuple[int, int, str]

SHARED = "both: "
_SENTENCES = (
    "The packet left at dawn and nobody saw it go.",
    "Half of what I said was lost; all of it arrived.",
    "Order is what the receiver makes of the noise.",
    "Please hold the line, the line is holding us.",
    "Write it twice, count it once. \u2713",
    "A cable is a promise with a delay.",
    "Zwölf Boxkämpfer jagen Viktor quer über den Deich.",
    "Rain on the antenna, \U0001f327 and still we agree.",
    "\u65e5\u672c\u8a9e\u3082\u5927\u4e08\u592b\u3067\u3059\u3002",
    "If two of us type here, who wrote the space between?",
)
_WORDS = ("and ", "yes ", "no ", "so ", "\U0001f44d ", "then ", "wait ", "ok ")


class Typist:
    """One author: what it types next, given the text as it sees it."""

    def __init__(self, name: str, rng: Random) -> None:
        self.name = name
        self.marker = f"{name}: "
        self._rng = rng
        self._waiting = ""
        self._to_delete = 0

    def next_patch(self, text: str) -> Patch:
        """Return one keystroke's patch, in code points of *text*."""
        roll = self._rng.random()
        if roll < 0.12:
            return self._share(text)
        end = self._line_end(text, self.marker)
        start = text.find(self.marker)
        if self._to_delete and start >= 0 and end > start + len(self.marker):
            self._to_delete -= 1
            self._waiting = text[end - 1] + self._waiting  # it will be typed anew
            return end - 1, 1, ""
        self._to_delete = 0
        if roll > 0.98:
            self._to_delete = self._rng.randint(2, 6)
        if not self._waiting:
            self._waiting = self._rng.choice(_SENTENCES) + " "
            if start >= 0 and end - start > 160:  # the line is full: begin it anew
                self._waiting = "\u2026 " + self._waiting
                return start + len(self.marker), end - start - len(self.marker), ""
        letter, self._waiting = self._waiting[0], self._waiting[1:]
        return end, 0, letter

    def _share(self, text: str) -> Patch:
        end = self._line_end(text, SHARED)
        start = text.find(SHARED) + len(SHARED)
        if end - start > 60:
            return start, self._rng.randint(4, 12), ""
        return end, 0, self._rng.choice(_WORDS)

    def _line_end(self, text: str, marker: str) -> int:
        start = text.find(marker)
        if start < 0:
            return len(text)
        end = text.find("\n", start)
        return len(text) if end < 0 else end


def first_text(*names: str) -> str:
    """Return the text that a document starts with: a line for each, and the shared one."""
    return "\n".join([*(f"{name}: " for name in names), SHARED])
