"""Peers: the programs that are compared. `bench.peers.registry` is the one list of them."""
