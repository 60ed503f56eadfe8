"""A bad link in user space: two network namespaces, a TUN device in each, and a program between.

What the link does to packets is `Path`; `open_link` makes one and removes it again.
"""

from bench.link.path import Path
from bench.link.wan import LinkError, WanLink, open_link, why_not

__all__ = ["LinkError", "Path", "WanLink", "open_link", "why_not"]
