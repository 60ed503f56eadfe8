"""Shared documents that converge, are saved, and say so."""
