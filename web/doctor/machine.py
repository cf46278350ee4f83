"""The machine below the server: Python, packages, limits. What the kernel does not tell is None, and not judged."""

import importlib.metadata
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from config import Settings
from web.doctor.verdict import Verdict, failed, ok, skipped, warning

BAD_PYTHONS = {
    (3, 13, 6): "it deadlocks when one thread reads a TLS socket and another writes it (gh-137583)"
}
LEAST_PYTHON = (3, 11)

DESCRIPTORS_A_CALL = 6
"""Both sockets, the recording and the transcript, and some to spare for tools."""
DESCRIPTORS_A_WORKER = 64
THREADS_A_CALL = 10
"""Its own, the actors', the model's reader, the listeners', and a tool's."""
WORKER_MIB = 96
CALL_MIB = 1.0
"""Roughly, with a recording."""

_UNLIMITED = {"max", "-1"}


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found."""

    python: tuple[int, int, int]
    packages: tuple[str, ...] | None
    """What is missing or has a version that is not asked for, such as `flask 2.0, where flask>=3.1 is asked for`."""
    open_files: int | None
    """Descriptors that a process may have."""
    tasks: int | None
    """Threads that all processes here may have together."""
    free_mib: float | None


def look() -> Machine:
    """Raises nothing."""
    return Machine(sys.version_info[:3], _packages(), _open_files(), _tasks(), _free_mib())


def judge(machine: Machine, settings: Settings | None) -> list[Verdict]:
    """The limits are only judged where the settings, which say how many calls there may be, are known."""
    verdicts = [judge_python(machine.python), judge_packages(machine.packages)]
    if settings is None:
        return [*verdicts, skipped("limits", "how many calls there may be is not known without the settings")]
    workers, threads = settings.workers, settings.threads
    return [
        *verdicts,
        judge_open_files(machine.open_files, threads),
        judge_tasks(machine.tasks, workers * threads),
        judge_memory(machine.free_mib, workers, workers * threads),
    ]


def judge_python(version: tuple[int, int, int]) -> Verdict:
    shown = "Python " + ".".join(map(str, version))
    if why := BAD_PYTHONS.get(version):
        return failed("python", f"{shown}: {why}", "use another version of Python; 3.13.7 has it mended")
    if version < LEAST_PYTHON:
        return failed("python", f"{shown} is too old", "use Python 3.11 or later")
    return ok("python", shown)


def judge_packages(wrong: tuple[str, ...] | None) -> Verdict:
    if wrong is None:
        return skipped(
            "packages", "Switchboard is not installed as a package, so what it asks for is not known"
        )
    if wrong:
        return failed("packages", "; ".join(wrong), "install them again: pip install -e .")
    return ok("packages", "all there, in versions that Switchboard knows")


def judge_open_files(limit: int | None, threads: int) -> Verdict:
    if limit is None:
        return skipped("open files", "this system does not tell its limit")
    needed = threads * DESCRIPTORS_A_CALL + DESCRIPTORS_A_WORKER
    if limit < needed:
        return warning(
            "open files",
            f"a process may open {limit}, and THREADS={threads} calls may need {needed}",
            f"raise it before the start with ulimit -n {needed} (LimitNOFILE={needed} for systemd), or lower THREADS",
        )
    return ok("open files", f"{limit} a process, {needed} may be needed")


def judge_tasks(limit: int | None, calls: int) -> Verdict:
    if limit is None:
        return ok("threads", "no limit is set")
    needed = calls * THREADS_A_CALL
    if limit < needed:
        return warning(
            "threads",
            f"there may be {limit} threads, and WORKERS * THREADS = {calls} calls may need {needed}",
            f"raise it (ulimit -u, pids.max, systemd's TasksMax={needed}, Docker's --pids-limit), or lower THREADS",
        )
    return ok("threads", f"{limit} allowed, {needed} may be needed")


def judge_memory(free_mib: float | None, workers: int, calls: int) -> Verdict:
    if free_mib is None:
        return skipped("memory", "this system does not tell how much is free")
    needed = workers * WORKER_MIB + calls * CALL_MIB
    if free_mib < workers * WORKER_MIB:
        return failed(
            "memory",
            f"{free_mib:.0f} MiB are free, and {workers} workers alone take about {workers * WORKER_MIB}",
            "give the machine more memory, or lower WORKERS",
        )
    if free_mib < needed:
        return warning(
            "memory",
            f"{free_mib:.0f} MiB are free, and with {calls} calls about {needed:.0f} are taken",
            "give the machine more memory, or lower WORKERS or THREADS",
        )
    return ok("memory", f"{free_mib:.0f} MiB free, about {needed:.0f} are taken with {calls} calls")


def wrong_packages(asked_for: list[str], installed: dict[str, str]) -> tuple[str, ...]:
    """`asked_for` as package metadata says it; those of extras do not count, nor what this Python does not need."""
    found = []
    for line in asked_for:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = installed.get(canonicalize_name(requirement.name))
        wanted = f"{requirement.name}{requirement.specifier}"
        if version is None:
            found.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement.name} {version}, where {wanted} is asked for")
    return tuple(found)


def _packages() -> tuple[str, ...] | None:
    try:
        asked_for = importlib.metadata.requires("switchboard") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    installed = {
        str(canonicalize_name(name)): each.version
        for each in importlib.metadata.distributions()
        if (name := each.metadata["Name"])
    }
    return wrong_packages(asked_for, installed)


def _open_files() -> int | None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if resource.RLIM_INFINITY in (soft, hard) and soft < 0 else soft


def _tasks() -> int | None:
    limits = [_number(each / "pids.max") for each in _control_groups("pids")]
    try:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        limits.append(None if soft == resource.RLIM_INFINITY else soft)
    except (ModuleNotFoundError, AttributeError):
        pass
    return min((limit for limit in limits if limit is not None), default=None)


def _free_mib() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for group in _control_groups("memory"):
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            free.append(max(limit - used, 0))
    return min(free) / 2**20 if free else None


def _control_groups(controller: str) -> list[Path]:
    """Where the limits of this process's control group may be, version 2 and 1, inside a container and outside."""
    root = Path("/sys/fs/cgroup")
    found = [root, root / controller]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found.append(root / path.lstrip("/"))
        elif controller in controllers.split(","):
            found.append(root / controller / path.lstrip("/"))
    return found


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return None if text in _UNLIMITED or not text.isdigit() else int(text)
