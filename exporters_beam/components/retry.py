"""Trying again what may go next time. What may, and how often it is tried, is for the caller to say."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def persistently(
    act: Callable[[], T],
    *,
    attempts: int | None = None,
    seconds: float | None = None,
    first: float,
    longest: float,
    passing: Callable[[BaseException], bool],
    sleep: Callable[[float], object] = lambda seconds: time.sleep(seconds),
    warn: Callable[[BaseException, float], object] = lambda error, wait: None,
    asked: Callable[[BaseException], float] = lambda error: 0.0,
) -> T:
    """Do it, so many times in all or for so many seconds as long as it raises what may pass; the last error is raised.

    Before the second try it waits `first` seconds, and then twice as long each time, up to `longest`; never less than what
    `asked` says that the error asks for. `warn` is told of each error that is followed by another try, and of the wait
    before it.

    >>> waits = []
    >>> persistently(dict, attempts=3, first=1, longest=9, passing=bool)
    {}
    >>> persistently(lambda: [][0], attempts=4, first=2, longest=5, passing=bool, sleep=waits.append)
    Traceback (most recent call last):
    IndexError: list index out of range
    >>> waits
    [2.0, 4.0, 5.0]
    """
    import tenacity

    def told(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None and state.next_action is not None:
            warn(error, state.next_action.sleep)

    def pause(seconds: float) -> None:
        sleep(seconds)

    growing = tenacity.wait_exponential(multiplier=first, max=longest)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(growing(state), asked(error) if error is not None else 0.0)

    ends: list[tenacity.stop.stop_base] = [tenacity.stop_after_attempt(max(1, attempts))] if attempts is not None else []
    ends += [tenacity.stop_after_delay(seconds)] if seconds is not None else []

    trying = tenacity.Retrying(
        stop=tenacity.stop_any(*ends),
        wait=wait,
        retry=tenacity.retry_if_exception(passing),
        sleep=pause,
        before_sleep=told,
        reraise=True,
    )
    return trying(act)
