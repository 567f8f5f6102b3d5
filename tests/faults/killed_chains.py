"""Chains whose runs are killed: what tests of every source have in common."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from suite import Server

from exporters_beam.config.spec import load
from exporters_beam.reporting.chain import manifests
from exporters_beam.runners.chain_states import plans_of, verified
from exporters_beam.runners.chains import folder_of

CALLS = ("fsync", "rename", "replace", "open", "os.open", "remove", "makedirs")


@contextmanager
def serving() -> Iterator[Server]:
    """What runs exports in children that may be killed."""
    server = Server()
    try:
        yield server
    finally:
        server.close()


def killed(
    server: Server,
    asked: dict[str, Any],
    rng: random.Random,
    tries: int,
    calls: Sequence[str] = CALLS,
    before: Callable[[int], None] = lambda number: None,
    **more: Any,
) -> int:
    """Run it so many times, each killed at a random call. Gives how many were."""
    met = 0
    for number in range(tries):
        before(number)
        fault = {"call": rng.choice(calls), "nth": rng.randrange(1, 12), "how": "kill"}
        done = server.run({"config": asked, "fault": fault, **more})
        assert done.code in (0, -9, 137), done.err
        met += done.code != 0
    return met


def delivered(server: Server, asked: dict[str, Any], storage: Any = None) -> list[dict[str, Any]]:
    """The manifests of all batches, when runs have come to the end of what is new and all of it is proved to be right."""
    while True:
        done = server.run({"config": asked})
        assert done.code == 0, done.err
        if json.loads(done.out)["counts"]["read"] == 0:
            break
    (plan,) = plans_of(load(asked))
    assert verified(plan, storage)[0] == []
    return list(manifests(folder_of(plan), plan.chain))


def a_hundred(once: Callable[[int], int]) -> None:
    """Try, with another seed each time, until a hundred runs have been killed."""
    met = seed = 0
    while met < 100:
        met += once(seed)
        seed += 1
