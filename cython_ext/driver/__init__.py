"""Where the core meets the socket."""

from cython_ext.driver.pump import Pump

__all__ = ["Pump"]
