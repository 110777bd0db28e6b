"""What this machine says of processes: CPU time, memory."""

import mmap
import os
import pathlib


def cpu_seconds(brokers):
    """CPU time of the processes of one side of the comparison so far, all together."""
    return sum(cpu_seconds_of(pid) for pid in brokers.pids)


def cpu_seconds_of(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(brokers, field):
    """`VmRSS` or `VmHWM` of the processes, all together."""
    found = 0
    for pid in brokers.pids:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                found += int(line.split()[1])
    return found / 1024


def back_memory(count):
    """Touches free memory for `count` bytes of page cache and gives it back, so that the host has given it before anything is measured.

    On a virtual machine the first touch of a page can cost more than all else that a broker does for it: for the same broker
    3.4 CPU seconds per GiB were measured without this and 0.5 with it, nearly all of it under the copy into the page cache.
    What was freed last is used first, in blocks as large as the host's: hence huge pages (in small ones 1.1), and a GiB more than
    is written. What a measure leaves is not free at once, so each measure of each side needs its own.
    """
    step = 64 << 20
    room = min(count + (1 << 30), memory_free_bytes() * 3 // 4)
    with mmap.mmap(-1, max(room // step, 1) * step) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for offset in range(0, len(memory), step):
            memory[offset : offset + step] = b"\1" * step


def memory_free_bytes():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemFree:"):
            return int(line.split()[1]) * 1024
    return 0
