"""The bench: this transport beside others, on loopback and on a bad link, every byte checked."""
