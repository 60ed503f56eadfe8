"""Fixtures and settings for every test."""

import os

from hypothesis import HealthCheck, settings

# Two cores are shared by two workers: a slow example is the machine's, not the code's.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
