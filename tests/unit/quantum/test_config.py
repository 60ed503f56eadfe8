"""`TransportConfig`: ranges, presets, and the sentence that each mistake gets."""

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

import quantum
from quantum import ConfigurationError, TransportConfig

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"max_data": -1}, "max_data = -1 is not between 0 and"),
    ({"max_data": 1 << 41}, "max_data = 2199023255552 is not between"),
    ({"max_data": 1.5}, "max_data = 1.5 is no whole number"),
    ({"max_stream_data": "4M"}, "max_stream_data = '4M' is no whole number"),
    ({"max_streams_bidi": (1 << 20) + 1}, "max_streams_bidi = 1048577 is not between"),
    ({"max_message_data": 1 << 20}, "max_message_data = 1048576 is above max_message_bytes"),
    ({"max_datagram_bytes": 1_199}, "max_datagram_bytes = 1199 is not between 1200 and 65507"),
    ({"send_datagram_bytes": 65_508}, "send_datagram_bytes = 65508 is not between 1200"),
    ({"send_buffer_bytes": 0}, "send_buffer_bytes = 0 is not between"),
    ({"datagram_queue": 0}, "datagram_queue = 0 is not between 1 and"),
    ({"max_connections": 0}, "max_connections = 0 is not between 1 and"),
    ({"max_half_open": 0}, "max_half_open = 0 is not between 1 and"),
    ({"key_update_packets": 0}, "key_update_packets = 0 is not between 1 and"),
    ({"idle_timeout": -1}, "idle_timeout = -1 is not between 0 and 604,800 seconds"),
    ({"idle_timeout": math.nan}, "idle_timeout = nan is not between"),
    ({"idle_timeout": math.inf}, "idle_timeout = inf is not between"),
    ({"idle_timeout": "30s"}, "idle_timeout = '30s' is not between"),
    ({"idle_timeout": None}, "idle_timeout = None is not between"),
    ({"keepalive": 700_000}, "keepalive = 700000 is not between"),
    ({"keepalive": 30}, "keepalive = 30 s keeps nothing alive: it is below idle_timeout = 30 s"),
    ({"handshake_timeout": 0}, "handshake_timeout = 0 is not between 0.001 and 3,600 seconds"),
    ({"max_ack_delay": 17}, "max_ack_delay = 17 is not between 0 and 16 seconds"),
    ({"initial_rtt": 0}, "initial_rtt = 0 is not between 1e-06 and 10 seconds"),
    ({"close_timeout": 3_601}, "close_timeout = 3601 is not between 0 and 3,600 seconds"),
    ({"congestion": "vegas"}, "congestion = 'vegas' is unknown; known: bbr, new_reno"),
    ({"copies": "some"}, "copies = 'some' is unknown; known: off, deadline, all"),
    ({"suites": ()}, r"suites = \(\) is no tuple of one or more of: aes-256-gcm, chacha20"),
    ({"suites": ("rc4",)}, r"suites = \('rc4',\) is no tuple"),
    ({"suites": "aes-256-gcm"}, "suites = 'aes-256-gcm' is no tuple"),
]


@pytest.mark.parametrize(("mistake", "sentence"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_said_in_the_callers_words(mistake: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        TransportConfig(**mistake)
    assert isinstance(caught.value, ValueError)
    assert "_ns" not in str(caught.value)


@pytest.mark.parametrize("preset", [quantum.wan, quantum.lan, quantum.loopback, quantum.realtime])
def test_presets_are_valid(preset: Any) -> None:
    assert isinstance(preset(), TransportConfig)
    assert preset() == preset()


def test_the_edges_of_the_ranges_are_inside() -> None:
    TransportConfig(idle_timeout=0, keepalive=3_600)
    TransportConfig(idle_timeout=604_800, keepalive=0)
    TransportConfig(max_message_bytes=0, max_message_data=1)
    TransportConfig(max_streams_bidi=0, max_streams_uni=0, max_data=0, max_stream_data=0)
    TransportConfig(send_datagram_bytes=1_200, max_datagram_bytes=1_200)


def test_a_configuration_does_not_change_but_can_be_copied_with_changes() -> None:
    config = TransportConfig()
    with pytest.raises(FrozenInstanceError):
        config.keepalive = 5  # type: ignore[misc]
    changed = config.replace(keepalive=5.0)
    assert (changed.keepalive, config.keepalive) == (5.0, 0.0)
    assert changed.replace(keepalive=0.0) == config
    with pytest.raises(TypeError, match="keep_alive"):
        config.replace(keep_alive=5)
    with pytest.raises(ConfigurationError):
        config.replace(keepalive=-1)
