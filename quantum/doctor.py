"""What the transport needs from a machine, looked at and judged.

Each check is a measurement and a judgement; the judgements are pure, so that every verdict can be
tested without a machine that has the fault. Nothing is changed, and nothing leaves the machine.
Knows neither the core nor the event loop: it must work where those do not.
"""

import ctypes
import os
import platform
import re
import resource
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]

WANTED_BUFFER_BYTES = 7_000_000
WANTED_OPEN_FILES = 65_536
FAST_CLOCKS = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen"}
# From linux/udp.h and linux/timex.h; the socket module does not name them.
UDP_SEGMENT, UDP_GRO = 103, 104
CLOCK_IS_UNSYNCHRONISED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, and how to mend it when it is not well."""

    name: str
    verdict: Verdict
    seen: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the fields for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        remedy = f"\n{'':24}-> {self.remedy}" if self.remedy else ""
        return f"{self.verdict:>5}  {self.name:<16} {self.seen}{remedy}"


def examine() -> list[Finding]:
    """Look at everything and return the findings, in the order of the checks."""
    findings = []
    for check in CHECKS:
        try:
            findings.append(check())
        except OSError as error:
            name = check.__name__.replace("_", " ")
            findings.append(
                Finding(name, "warn", f"cannot be looked at: {error.strerror or error}")
            )
    return findings


def native_build() -> str:
    """Say how the native modules were built, or that they were not."""
    try:
        from cython_ext import build_info
    except ImportError:
        return "no native modules: run `make build`"
    return f"native modules in the {build_info.PROFILE} profile by Cython {build_info.CYTHON}"


# ---- measurements ----


def kernel() -> Finding:
    """Check the kernel's age."""
    return judge_kernel(platform.system(), platform.release())


def native_modules() -> Finding:
    """Check that the native modules are built, and for speed."""
    return judge_build(native_build())


def socket_buffers() -> Finding:
    """Check what the kernel grants when 7 MB are asked for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        granted = []
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            probe.setsockopt(socket.SOL_SOCKET, option, WANTED_BUFFER_BYTES)
            # Linux grants twice what was asked, to have room for its own records.
            granted.append(probe.getsockopt(socket.SOL_SOCKET, option) // 2)
    return judge_buffers(*granted)


def segmentation() -> Finding:
    """Send one train with GSO to ourselves, and ask for GRO."""
    loopback = ("127.0.0.1", 0)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(loopback)
        receiver.settimeout(1.0)
        size = struct.pack("=H", 1000)
        try:
            sender.sendmsg(
                [bytes(2500)], [(socket.IPPROTO_UDP, UDP_SEGMENT, size)], 0, receiver.getsockname()
            )
            gso = [len(receiver.recv(65535)) for _ in range(3)] == [1000, 1000, 500]
        except OSError:
            gso = False
        try:
            receiver.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
            gro = True
        except OSError:
            gro = False
    return judge_segmentation(gso, gro)


def clock_source() -> Finding:
    """Check that reading the time is cheap and fine-grained."""
    path = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    source = path.read_text().strip() if path.exists() else "unknown"
    return judge_clock(source, time.get_clock_info("monotonic").resolution)


def clock_discipline() -> Finding:
    """Ask the kernel whether something keeps the clock right; nothing is set."""
    libc = ctypes.CDLL(None, use_errno=True)
    # struct timex is 208 bytes on 64-bit Linux; all zero means "only tell me".
    state = libc.adjtimex(ctypes.create_string_buffer(256))
    if state < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return judge_discipline(state != CLOCK_IS_UNSYNCHRONISED)


def entropy() -> Finding:
    """Check that random bytes are there without waiting."""
    try:
        os.getrandom(32, os.GRND_NONBLOCK)
    except BlockingIOError:
        return judge_entropy(False)
    return judge_entropy(True)


def open_files() -> Finding:
    """Check how many descriptors a process may have."""
    return judge_open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))


def cipher() -> Finding:
    """Check that the processor has instructions for AES."""
    flags = re.findall(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return judge_cipher("aes" in " ".join(flags).split())


def cores() -> Finding:
    """Say how many cores this process may use."""
    return Finding("cores", "ok", f"{len(os.sched_getaffinity(0))} usable")


# ---- judgements ----


def judge_kernel(system: str, release: str) -> Finding:
    """Judge by version: GSO came with 4.18, GRO for UDP with 5.0."""
    seen = f"{system} {release}"
    if system != "Linux":
        return Finding("kernel", "fail", seen, "Quantum's batched sockets need Linux")
    version = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if version < (5, 0):
        return Finding("kernel", "warn", seen, "5.0 or newer has GSO and GRO for UDP")
    return Finding("kernel", "ok", seen)


def judge_build(seen: str) -> Finding:
    """Judge the profile of the native modules."""
    if "release" in seen:
        return Finding("native modules", "ok", seen)
    if "checked" in seen:
        return Finding("native modules", "warn", seen, "slow by design; `make build` for speed")
    return Finding("native modules", "fail", seen, "`make build`")


def judge_buffers(receive_bytes: int, send_bytes: int) -> Finding:
    """Judge what the kernel granted against what a burst at speed needs."""
    seen = f"receive {receive_bytes / 1e6:.1f} MB, send {send_bytes / 1e6:.1f} MB"
    if min(receive_bytes, send_bytes) >= WANTED_BUFFER_BYTES:
        return Finding("socket buffers", "ok", seen)
    remedy = "sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000"
    return Finding("socket buffers", "warn", seen, f"bursts may be lost: {remedy}")


def judge_segmentation(gso: bool, gro: bool) -> Finding:
    """Judge the kernel's help with trains of packets."""
    seen = f"GSO {'works' if gso else 'is missing'}, GRO {'works' if gro else 'is missing'}"
    if gso and gro:
        return Finding("segmentation", "ok", seen)
    return Finding("segmentation", "warn", seen, "works without, slower; Linux 5.0 has both")


def judge_clock(source: str, resolution_s: float) -> Finding:
    """Judge the clock that is read for every train."""
    seen = f"{source}, resolution {resolution_s * 1e9:.0f} ns"
    if resolution_s > 1e-6:
        return Finding("clock source", "warn", seen, "timers and pacing will be coarse")
    if source not in FAST_CLOCKS:
        remedy = "each reading is a system call; boot with clocksource=tsc if the processor allows"
        return Finding("clock source", "warn", seen, remedy)
    return Finding("clock source", "ok", seen)


def judge_discipline(synchronised: bool) -> Finding:
    """Judge whether wall time can be trusted."""
    if synchronised:
        return Finding("clock discipline", "ok", "synchronised")
    remedy = "tokens expire by wall time: run chrony or systemd-timesyncd"
    return Finding("clock discipline", "warn", "nothing keeps the clock right", remedy)


def judge_entropy(ready: bool) -> Finding:
    """Judge the source of keys."""
    if ready:
        return Finding("entropy", "ok", "ready")
    remedy = "the kernel's generator is not seeded yet: wait, or give the machine virtio-rng"
    return Finding("entropy", "fail", "random bytes would block", remedy)


def judge_open_files(soft: int, hard: int) -> Finding:
    """Judge how many TCP clients could be held."""
    unlimited = resource.RLIM_INFINITY
    seen = (
        "unlimited"
        if soft == unlimited
        else f"{soft} (up to {'any' if hard == unlimited else hard})"
    )
    if soft == unlimited or soft >= WANTED_OPEN_FILES:
        return Finding("open files", "ok", seen)
    return Finding("open files", "warn", seen, f"one per TCP client: ulimit -n {WANTED_OPEN_FILES}")


def judge_cipher(has_aes: bool) -> Finding:
    """Judge the speed of the default cipher."""
    if has_aes:
        return Finding("cipher", "ok", "AES in hardware")
    return Finding("cipher", "warn", "no AES instructions", "ChaCha20-Poly1305 is faster here")


CHECKS: tuple[Callable[[], Finding], ...] = (
    kernel,
    native_modules,
    socket_buffers,
    segmentation,
    clock_source,
    clock_discipline,
    entropy,
    open_files,
    cipher,
    cores,
)
