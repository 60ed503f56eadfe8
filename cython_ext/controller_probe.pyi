class ControllerProbe:
    def __init__(
        self,
        name: str,
        now_ns: int = 0,
        initial_rtt_ns: int = 100000000,
        datagram_bytes: int = 1232,
        seed: int = 1,
    ) -> None: ...
    def sent(self, now_ns: int, size: int, in_flight: int, app_limited: bool = False) -> None: ...
    def ack(
        self,
        now_ns: int,
        acked: int,
        *,
        delivered: int,
        in_flight: int,
        prior_in_flight: int = 0,
        prior_delivered: int = 0,
        rate: int = 0,
        rtt_ns: int = 0,
        smoothed_ns: int = 0,
        lost: int = 0,
        lost_packets: int = 0,
        sample_lost: int = 0,
        sample_in_flight: int = 0,
        sent_ns: int = 0,
        app_limited: bool = False,
        marked: int = 0,
        ect: int = 0,
    ) -> None: ...
    def spurious(self, now_ns: int) -> None: ...
    def persistent(self, now_ns: int) -> None: ...
    def switch(self, name: str, now_ns: int, rtt_ns: int) -> None: ...
    @property
    def window(self) -> int: ...
    @property
    def pacing_rate(self) -> int: ...
    @property
    def phase(self) -> int: ...
