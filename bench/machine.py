"""What the numbers were measured on."""

import os
import platform
import ssl
import time
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Return the processor, the kernel, and what of their settings changes results."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "virtual": " hypervisor" in _text("/proc/cpuinfo"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "udp_receive_buffer_max": int(_text("/proc/sys/net/core/rmem_max") or 0),
        "tcp_receive_buffer": _text("/proc/sys/net/ipv4/tcp_rmem").split(),
        "load_before": os.getloadavg()[0],
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def sentence(machine: dict[str, Any]) -> str:
    """Return the description in one sentence."""
    kind = "cores of a virtual machine" if machine["virtual"] else "cores"
    return (
        f"{machine['cores']} {kind} ({machine['processor']}, {machine['memory_gib']} GiB), "
        f"Linux {machine['kernel']}, CPython {machine['python']}, {machine['openssl']}; "
        f"load {machine['load_before']:.2f} before the first run, {machine['at']}."
    )


def processor_time() -> tuple[int, int]:
    """Return (used, all) of all processors since the machine started, in clock ticks."""
    fields = [int(word) for word in _text("/proc/stat").partition("\n")[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def _processor() -> str:
    names = [line for line in _text("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
