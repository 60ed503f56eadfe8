"""Key phases of a connection (section 4.7): which keys seal, and which may open a packet."""

from interop.reference.codec import Flag
from interop.reference.crypto import PacketKeys, Suite

UPDATE_MUST = 2**23
UNOPENED_MAX = {Suite.AES_256_GCM: 2**52, Suite.CHACHA20_POLY1305: 2**36}


class KeyPhases:
    """Traffic keys of both directions, which are always in one phase; phases count from 0."""

    def __init__(self, send: PacketKeys, receive: PacketKeys, update_after_packets: int) -> None:
        self.send = send
        self.receive = receive
        self.previous: PacketKeys | None = None
        self.phase = 0
        self.update_after_packets = update_after_packets
        self.sealed = 0
        self.unopened = 0
        self.previous_until_ns: float | None = None
        self._acked_in_phase = False
        self._lowest: int | None = None
        self._largest: int | None = None

    @property
    def flag(self) -> int:
        """The flag of packets sealed now."""
        return Flag.URG if self.phase & 1 else 0

    def seal(self, number: int, header: bytes, plaintext: bytes) -> bytes:
        """Seal a packet under the present keys."""
        self.sealed += 1
        return self.send.seal(number, header, plaintext)

    def update_if_due(self) -> None:
        """Start a key update when enough packets were sealed and one is allowed."""
        if self.sealed >= self.update_after_packets:
            self.update()

    def update(self) -> bool:
        """Start a key update; False when the specification does not allow one now."""
        # = 4.7: was acknowledged and a packet of the peer's in that phase was opened.
        if not self._acked_in_phase or self._largest is None:
            return False
        self._advance()
        return True

    def handle_acked(self, phase: int) -> None:
        """Record that a packet sealed in *phase* was acknowledged."""
        if phase == self.phase:
            self._acked_in_phase = True

    @property
    def is_worn_out(self) -> bool:
        """True when the present keys may seal no more."""
        # = 4.7: A sender MUST start an update before it has sealed 2^23 packets with one key;
        return self.sealed >= UPDATE_MUST - 1

    @property
    def is_under_attack(self) -> bool:
        """True when more packets did not open than the cipher stands."""
        return self.unopened >= UNOPENED_MAX[self.receive.suite]

    def handle_timeout(self, now_ns: int) -> None:
        """Forget the previous receive keys when their time has come."""
        if self.previous_until_ns is not None and now_ns >= self.previous_until_ns:
            self.previous_until_ns = self.previous = None

    def open(
        self, flags: int, number: int, header: bytes, sealed: bytes, keep_until_ns: float
    ) -> bytes | None:
        """Open a packet with the keys of the phase it can belong to, or return None.

        *keep_until_ns* is until when the previous receive keys are kept if this packet is the
        first one of its phase.
        """
        plaintext = self._open(flags, number, header, sealed, keep_until_ns)
        if plaintext is None:
            self.unopened += 1
        return plaintext

    def _open(
        self, flags: int, number: int, header: bytes, sealed: bytes, keep_until_ns: float
    ) -> bytes | None:
        if bool(flags & Flag.URG) == bool(self.phase & 1):
            plaintext = self.receive.open(number, header, sealed)
            if plaintext is not None:
                self._note(number, keep_until_ns)
            return plaintext
        # = 4.7: for packets with the old flag and numbers below the lowest of the new phase.
        if self.previous is not None and (self._lowest is None or number < self._lowest):
            return self.previous.open(number, header, sealed)
        # = 4.7: A receiver that sees the toggled flag on a packet with a number above all those
        if self._largest is None or number > self._largest:
            plaintext = self.receive.next().open(number, header, sealed)
            if plaintext is not None:
                # = 4.7: if the packet opens, both its directions
                self._advance()
                self._note(number, keep_until_ns)
            return plaintext
        return None

    def _note(self, number: int, keep_until_ns: float) -> None:
        """Record a number opened in the present phase; the first one starts the old keys' end."""
        if self._lowest is None and self.previous is not None:
            self.previous_until_ns = keep_until_ns
        self._lowest = number if self._lowest is None else min(self._lowest, number)
        self._largest = number if self._largest is None else max(self._largest, number)

    def _advance(self) -> None:
        self.previous, self.previous_until_ns = self.receive, None
        self.send, self.receive = self.send.next(), self.receive.next()
        self.phase += 1
        self.sealed = 0
        self._acked_in_phase = False
        self._lowest = self._largest = None
