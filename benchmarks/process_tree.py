"""What a process and its descendants have used, by the kernel's own accounting. Linux."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Use:
    """Counters; subtract two of them."""

    cpu_s: float
    """user and system time, of children that have ended too"""
    switches: int
    """context switches of the threads that live: a thread that waits and is woken is one"""
    threads: int
    memory_mib: float
    """proportional set size: memory that processes share counts once"""

    def __sub__(self, earlier: "Use") -> "Use":
        return Use(
            self.cpu_s - earlier.cpu_s,
            self.switches - earlier.switches,
            self.threads - earlier.threads,
            self.memory_mib - earlier.memory_mib,
        )


def use_of(pid: int) -> Use:
    """What the process and all below it have used so far."""
    cpu_s, switches, threads, memory_mib = 0.0, 0, 0, 0.0
    for each in _tree(pid):
        folder = _PROC / str(each)
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            rollup = (folder / "smaps_rollup").read_text()
            tasks = list((folder / "task").iterdir())
        except OSError:
            continue  # it has just ended
        cpu_s += sum(map(int, stat[11:15])) / _TICKS_PER_SECOND
        memory_mib += int(rollup.partition("\nPss:")[2].split()[0]) / 1024
        threads += len(tasks)
        for task in tasks:
            switches += _switches(task)
    return Use(cpu_s, switches, threads, memory_mib)


def _switches(task: Path) -> int:
    try:
        lines = (task / "status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found
