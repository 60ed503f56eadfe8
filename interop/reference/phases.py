"""Key phases of a connection (section 4.7): which keys seal, and which may open a packet."""

from interop.reference.codec import Flag
from interop.reference.crypto import PacketKeys, Suite

UPDATE_MUST = 2**23
UNOPENED_MAX = {Suite.AES_256_GCM: 2**52, Suite.CHACHA20_POLY1305: 2**36}


class KeyPhases:
    """Traffic keys of both directions; the phase of each counts from 0."""

    def __init__(self, send: PacketKeys, receive: PacketKeys, update_after_packets: int) -> None:
        self.send = send
        self.receive = receive
        self.previous: PacketKeys | None = None
        self.send_phase = 0
        self.receive_phase = 0
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
        return Flag.URG if self.send_phase & 1 else 0

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
        # = 4.7: It does so only when a packet that it sealed in the present phase
        if not self._acked_in_phase or self.send_phase != self.receive_phase:
            return False
        self._advance_send()
        return True

    def handle_acked(self, phase: int) -> None:
        """Record that a packet sealed in *phase* was acknowledged."""
        if phase == self.send_phase:
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

        *keep_until_ns* is until when the present receive keys are kept if this packet ends
        their phase.
        """
        plaintext = self._open(flags, number, header, sealed, keep_until_ns)
        if plaintext is None:
            self.unopened += 1
        return plaintext

    def _open(
        self, flags: int, number: int, header: bytes, sealed: bytes, keep_until_ns: float
    ) -> bytes | None:
        if bool(flags & Flag.URG) == bool(self.receive_phase & 1):
            plaintext = self.receive.open(number, header, sealed)
            if plaintext is not None:
                self._note(number)
            return plaintext
        # = 4.7: A receiver that sees the toggled flag on a packet with a number above all those
        if self._largest is None or number > self._largest:
            following = self.receive.next()
            plaintext = following.open(number, header, sealed)
            if plaintext is not None:
                self.previous, self.receive = self.receive, following
                self.previous_until_ns = keep_until_ns
                self.receive_phase += 1
                self._lowest = self._largest = None
                self._note(number)
                # = 4.7: if the packet opens, both its directions
                if self.send_phase < self.receive_phase:
                    self._advance_send()
            return plaintext
        # = 4.7: for packets with the old flag and lower numbers.
        if self.previous is not None and self._lowest is not None and number < self._lowest:
            return self.previous.open(number, header, sealed)
        return None

    def _note(self, number: int) -> None:
        self._lowest = number if self._lowest is None else min(self._lowest, number)
        self._largest = number if self._largest is None else max(self._largest, number)

    def _advance_send(self) -> None:
        self.send = self.send.next()
        self.send_phase += 1
        self.sealed = 0
        self._acked_in_phase = False
