"""The Python program of the trainer: pictures to embeddings (see.py), embeddings to a model and its files (learn.py)."""

import ctypes
import os

# Before numpy is imported: a head's matrices are small, and on busy cores OpenBLAS's threads wait for each other for ten
# times as long as they compute (2.4 s against 0.27 s for 100 pictures).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def keep_freed_memory() -> None:
    """Lets the C library keep the memory in which the last picture was decoded and resized: getting its pages anew for each
    picture costs a third of that work. It keeps at most so many bytes for each thread, and frees larger pictures (mallopt(3)).
    """
    trim_threshold, mmap_threshold = -1, -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return  # Only glibc has it.
    mallopt(mmap_threshold, 8 * 2**20)
    mallopt(trim_threshold, 32 * 2**20)


keep_freed_memory()
