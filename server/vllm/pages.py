"""Memory that a process holds and does not use, given back to the kernel."""

from __future__ import annotations

import ctypes
import mmap
from itertools import groupby


def hand_back_freed() -> None:
    """What was freed while a server started; glibc would keep it for later."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def hand_back_zeros(address: int, length: int) -> int:
    """Give the pages that hold nothing but zeros back to the kernel, which makes them anew, of
    zeros, when they are used. Returns their bytes.

    For private memory that no file is behind, and that nobody writes meanwhile.
    """
    page = mmap.PAGESIZE
    first, end = -(-address // page) * page, (address + length) // page * page
    if end <= first:
        return 0
    memory = memoryview((ctypes.c_char * (end - first)).from_address(first))
    zeros = bytes(page)
    used = [bytes(memory[at : at + page]) != zeros for at in range(0, len(memory), page)]
    freed = 0
    for is_used, pages in groupby(range(len(used)), used.__getitem__):
        count = sum(1 for _ in pages)
        if not is_used:
            _hand_back(first, count * page)
            freed += count * page
        first += count * page
    return freed


def _hand_back(address: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # A refusal (memory that is locked) costs nothing but the memory.
    libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), mmap.MADV_DONTNEED)
