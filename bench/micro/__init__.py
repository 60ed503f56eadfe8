"""Measurements of one function each, without a peer process."""
