"""Settings of the memory allocator: each training step frees hundreds of MiB that the next step allocates again."""

from __future__ import annotations

import ctypes

# Numbers from malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
SETTINGS = (
    (M_MMAP_MAX, 0),  # large blocks come from the heap, not from mappings of their own
    (M_TRIM_THRESHOLD, 2**31 - 1),  # bytes; the end of the heap is not returned to the system
    (M_TOP_PAD, 256 << 20),  # bytes; the heap grows in few, large pieces
    (M_ARENA_MAX, 1),  # one heap for all threads, so that each can use what another one freed
)


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory instead of returning it to the system.

    By default glibc returns large blocks after every step, and the kernel clears them page by page in the next one.
    Measured on two cores, a step on 16 s of audio takes 1.5 s by default and 1.2 s with these settings.

    Returns:
        True if glibc accepted all settings; False where another C library is in use.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    accepted = [mallopt(ctypes.c_int(name), ctypes.c_int(value)) for name, value in SETTINGS]
    return accepted == [1] * len(SETTINGS)
