"""Memory that holds nothing yet is the kernel's until it is used."""

from __future__ import annotations

import ctypes
import mmap
import re
from pathlib import Path

import numpy as np

from agentlm.server.vllm.pages import hand_back_zeros

MIB = 1 << 20


def held() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    found = re.search(r"Anonymous: +(\d+) kB", text)
    assert found
    return int(found[1]) << 10


def test_pages_of_zeros_are_handed_back_and_all_others_kept() -> None:
    memory = mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    numbers = np.frombuffer(memory, np.uint8)
    numbers[:] = 0
    numbers[5 * MIB : 6 * MIB] = 7
    numbers[-1] = 9
    before = held()

    # Neither end is that of a page: what stands beside belongs to somebody else.
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    handed_back = hand_back_zeros(address + 8, 64 * MIB - 16)

    assert handed_back == 63 * MIB - 2 * mmap.PAGESIZE
    assert held() < before - 60 * MIB
    assert numbers[5 * MIB : 6 * MIB].all()
    assert numbers.sum(dtype=np.int64) == 7 * MIB + 9
    numbers[:] = 1
    assert numbers.all()


def test_what_is_smaller_than_a_page_is_left_alone() -> None:
    room = bytearray(1000)
    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    assert hand_back_zeros(address, len(room)) == 0
