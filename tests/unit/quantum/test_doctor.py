"""Every verdict of the doctor, without a machine that has the fault; and a look at this machine."""

import resource
from collections.abc import Callable

import pytest

from quantum import doctor
from quantum.doctor import Finding


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (doctor.judge_kernel("Linux", "6.1.0-13-amd64"), "ok"),
        (doctor.judge_kernel("Linux", "5.0.21"), "ok"),
        (doctor.judge_kernel("Linux", "4.19.0"), "warn"),
        (doctor.judge_kernel("Darwin", "23.1.0"), "fail"),
        (doctor.judge_build("native modules in the release profile by Cython 3"), "ok"),
        (doctor.judge_build("native modules in the checked profile by Cython 3"), "warn"),
        (doctor.judge_build("no native modules: run `make build`"), "fail"),
        (doctor.judge_buffers(7_000_000, 7_000_000), "ok"),
        (doctor.judge_buffers(7_000_000, 212_992), "warn"),
        (doctor.judge_segmentation(True, True), "ok"),
        (doctor.judge_segmentation(True, False), "warn"),
        (doctor.judge_clock("tsc", 1e-9), "ok"),
        (doctor.judge_clock("hpet", 1e-9), "warn"),
        (doctor.judge_clock("tsc", 1e-3), "warn"),
        (doctor.judge_discipline(True), "ok"),
        (doctor.judge_discipline(False), "warn"),
        (doctor.judge_entropy(True), "ok"),
        (doctor.judge_entropy(False), "fail"),
        (doctor.judge_open_files(65_536, 65_536), "ok"),
        (doctor.judge_open_files(1024, 4096), "warn"),
        (doctor.judge_open_files(resource.RLIM_INFINITY, resource.RLIM_INFINITY), "ok"),
        (doctor.judge_cipher(True), "ok"),
        (doctor.judge_cipher(False), "warn"),
    ],
)
def test_a_fault_is_named_with_its_remedy(finding: Finding, verdict: str) -> None:
    assert finding.verdict == verdict
    assert bool(finding.remedy) == (verdict != "ok"), (
        "whoever reads of a fault learns how to mend it"
    )


def test_this_machine_is_examined_in_full() -> None:
    findings = doctor.examine()
    assert len(findings) == len(doctor.CHECKS)
    assert len({finding.name for finding in findings}) == len(findings)


def test_a_check_that_cannot_look_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def clock_source() -> Finding:
        raise PermissionError(13, "Permission denied")

    checks: tuple[Callable[[], Finding], ...] = (clock_source,)
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert doctor.examine() == [
        Finding("clock source", "warn", "cannot be looked at: Permission denied")
    ]


def test_a_finding_prints_its_remedy_on_a_line_of_its_own() -> None:
    assert str(Finding("cores", "ok", "2 usable")).splitlines() == [
        "   ok  cores            2 usable"
    ]
    assert str(Finding("cores", "warn", "1", "add one")).splitlines()[1].strip() == "-> add one"
