"""What a connection is configured with, as C sees it; units in the names."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    FEC_OFF = 0
    FEC_AUTO = 1
    FEC_ALWAYS = 2


cdef struct ParamsView:
    # what we offer the peer (docs/protocol.md section 4.1)
    uint64_t max_data
    uint64_t max_stream_data
    uint64_t max_streams_bidi
    uint64_t max_streams_uni
    uint64_t max_message_data
    uint64_t max_message_bytes
    uint64_t max_datagram_bytes
    int64_t idle_timeout_ns
    int64_t max_ack_delay_ns
    uint64_t repair_sources         # plaintexts kept for repair, 0 to 256
    # our own
    uint64_t send_datagram_bytes    # largest UDP payload we send
    uint64_t send_buffer_bytes      # per stream; writes wait above it
    uint64_t message_buffer_bytes   # of messages not yet acknowledged
    uint32_t datagram_queue         # datagrams waiting, each way
    int64_t keepalive_ns            # 0 = none
    int64_t handshake_timeout_ns
    int64_t initial_rtt_ns
    bint ecn                        # mark what we send ECT(0)
    uint8_t controller              # index into CONTROLLERS
    uint8_t copies                  # COPIES_OFF, COPIES_DEADLINE or COPIES_ALL
    uint64_t key_update_packets
    uint8_t fec                     # index into FEC_MODES
    double assumed_loss             # share of packets taken for lost until something was measured
    uint32_t max_connections        # of an endpoint
    uint32_t max_half_open


cdef struct PeerParams:
    uint64_t max_data
    uint64_t max_stream_data
    uint64_t max_streams_bidi
    uint64_t max_streams_uni
    uint64_t max_message_data
    uint64_t max_message_bytes
    uint64_t max_datagram_bytes
    int64_t idle_timeout_ns
    int64_t max_ack_delay_ns
    uint64_t repair_sources


cdef bint read_peer(PeerParams* peer, dict params)


cdef class Params:
    cdef ParamsView view
    cdef readonly tuple suites
