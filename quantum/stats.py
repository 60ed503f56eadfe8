"""Read-only snapshots of what a connection counted and estimates."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

_PHASES = (
    "startup", "drain", "probe_bw_down", "probe_bw_cruise", "probe_bw_refill", "probe_bw_up",
    "probe_rtt",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """Counters since the connection began, and present estimates; times in ns, sizes in bytes.

    A packet is *lost* when it was declared so; its content was then sent again
    (`bytes_retransmitted`).
    *Spurious* ones were acknowledged after all. `packets_recovered` = lost - spurious whose
    content was delivered by a later packet: all of them, once everything is acknowledged.

    `messages_expired` were given up at their deadline; of those of the peer, the ones that this end
    had a part of or a gap for are `messages_expired_by_peer`. Copies are small messages sent again
    before anything was known to be lost; `copies_useful` counts the lost packets whose messages a
    copy had brought by then.

    Of what we send, `loss_ppm` is the share lost of late, in millionths, and
    `loss_run_thousandths` how many are lost in a row; repairs are chosen from both. What they
    cost: `fec_packets_protected` packets left in `fec_blocks_sent` blocks, with
    `fec_repairs_sent` repairs of `fec_repair_bytes` bytes (`fec_repairs_dropped` were not worth
    sending any more). What they saved: `fec_recovered_by_peer` lost packets that the peer
    rebuilt; they count as lost, and were not sent again.

    Of what the peer sends: `fec_repairs_received`, of which `fec_repairs_unused` found nothing
    missing; `fec_packets_recovered` packets were rebuilt, `fec_recovered_late` of them came
    afterwards; `fec_blocks_failed` blocks missed too much, or made no sense.
    """

    rtt_latest_ns: int
    rtt_smoothed_ns: int
    rtt_variation_ns: int
    rtt_minimum_ns: int
    probe_timeout_ns: int
    window_bytes: int
    pacing_rate: int
    controller_phase: int
    in_flight_bytes: int
    delivered_bytes: int
    datagram_bytes: int
    packets_sent: int
    packets_received: int
    packets_acked: int
    packets_lost: int
    packets_spurious: int
    packets_dropped: int
    probes_sent: int
    persistent_congestion: int
    bytes_sent: int
    bytes_received: int
    bytes_lost: int
    bytes_retransmitted: int
    stream_bytes_sent: int
    stream_bytes_received: int
    messages_sent: int
    messages_received: int
    messages_expired: int
    messages_expired_by_peer: int
    copies_sent: int
    copies_bytes: int
    copies_useful: int
    datagrams_sent: int
    datagrams_received: int
    datagrams_dropped: int
    acks_sent: int
    acks_received: int
    ecn_ce_received: int
    ecn_marking: int
    ecn_failed: int
    ecn_ce_reported: int
    loss_ppm: int
    loss_run_thousandths: int
    fec_packets_protected: int
    fec_blocks_sent: int
    fec_repairs_sent: int
    fec_repair_bytes: int
    fec_repairs_dropped: int
    fec_recovered_by_peer: int
    fec_repairs_received: int
    fec_packets_recovered: int
    fec_recovered_late: int
    fec_blocks_failed: int
    fec_repairs_unused: int
    key_updates: int
    streams: int
    ledger_packets: int

    @property
    def rtt_ns(self) -> int:
        """The smoothed round trip; 0 before the first sample."""
        return self.rtt_smoothed_ns

    @property
    def packets_recovered(self) -> int:
        """Packets really lost; their content goes out again until it is acknowledged."""
        return max(self.packets_lost - self.packets_spurious, 0)

    @property
    def loss(self) -> float:
        """Share of the sent packets that were lost, 0 to 1."""
        return self.packets_recovered / self.packets_sent if self.packets_sent else 0.0

    @property
    def phase(self) -> str:
        """Name of the congestion controller's phase, as BBR calls it."""
        return _PHASES[self.controller_phase] if self.controller_phase < len(_PHASES) else "unknown"

    @classmethod
    def of(cls, counted: Mapping[str, int]) -> "ConnectionStats":
        """Return the snapshot in the core's form."""
        return cls(**{f.name: counted[f.name] for f in fields(cls)})
