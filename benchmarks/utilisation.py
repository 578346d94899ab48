"""How busy a GPU is while something runs; for the benchmarks that run on one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sampled_utilisation(on_gpu: bool) -> Iterator[list[int]]:
    """Percent of the time in which a kernel ran, as nvidia-smi says it ten times a second; empty without it."""
    samples: list[int] = []
    process = None
    if on_gpu:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", "-lms", "100"]
        try:
            process = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            print("nvidia-smi can't be run here, so the utilisation stays empty.", file=sys.stderr)
    try:
        yield samples
    finally:
        if process is not None:
            process.terminate()
            lines = process.communicate()[0].split()
            samples += [int(line) for line in lines if line.isdigit()]
