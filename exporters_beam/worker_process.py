"""One worker process of the local runner: Beam's own, that ends at once when its launcher is gone, however that ended.

Started by `workers` as `python -m exporters_beam.worker_process FD`, where FD is the end of a pipe to read from.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading


def main() -> None:
    threading.Thread(target=_follow, args=(int(sys.argv[1]),), daemon=True).start()
    # What is logged here the launcher gets, and tells; without a handler Beam would put it on standard error as well.
    logging.getLogger().addHandler(logging.NullHandler())
    from apache_beam.runners.worker import sdk_worker_main

    gc.freeze()  # Fewer passes of the garbage collector: what is here stays, and records hold no cycles.
    gc.set_threshold(100_000, 20, 20)
    sdk_worker_main.main(sys.argv)


def _follow(launcher: int) -> None:
    """Nothing is ever written into this pipe: reading ends when the launcher's side is closed, by whatever."""
    os.read(launcher, 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
