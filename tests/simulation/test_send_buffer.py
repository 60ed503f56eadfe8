"""What a full send buffer does to a path that loses packets."""

import pytest

from tests.support.bottleneck import Bottleneck, payload_rate
from tests.support.congestion_bars import link

pytestmark = pytest.mark.simulation


def test_a_packet_lost_again_and_again_does_not_idle_the_path() -> None:
    there = link(20, loss=0.1)
    path = Bottleneck(there, seed=1)
    # Four round trips of what the path carries; one packet in a thousand needs four tries.
    flow = path.add(send_buffer_bytes=500_000)
    flow.sender.start()
    path.run_for(20)
    assert there.rate_bps is not None
    assert path.read()[0] >= 0.9 * payload_rate(there.rate_bps, there.loss) * 20
