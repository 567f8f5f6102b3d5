"""How many different values there are, in a few bytes: exact for few, an estimate (HyperLogLog) for many.

What it holds depends on the set of values alone, and not on their order, on how often they come, or on how they were divided
among sketches that are merged. Values are known by a fixed hash of 32 bits, the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

import numpy as np

EXACT = 512
"""So many values are counted exactly."""

BITS = 11
"""2^11 registers of a byte: the estimate is off by about 2.3 per cent."""

REGISTERS = 1 << BITS

Hashes = Any
"""A numpy array of uint32."""


class Distinct:
    """A set of hashes, or the registers that stand for a larger one."""

    __slots__ = ("_few", "_registers")

    def __init__(self, few: Iterable[int] = (), registers: bytes = b"") -> None:
        self._few: set[int] | None = None if registers else set(few)
        self._registers: Any = np.frombuffer(registers, np.uint8).copy() if registers else None

    def add(self, hashes: Hashes) -> None:
        """Values by their hashes."""
        if self._few is not None:
            self._few.update(hashes.tolist())
            if len(self._few) <= EXACT:
                return
            hashes = np.fromiter(self._few, np.uint32, len(self._few))
            self._few, self._registers = None, np.zeros(REGISTERS, np.uint8)
        np.maximum.at(self._registers, hashes >> np.uint32(32 - BITS), _ranks(hashes))

    def merge(self, other: Distinct) -> None:
        """Add all that the other has seen."""
        if other._few is not None:
            self.add(np.fromiter(other._few, np.uint32, len(other._few)))
            return
        if self._few is not None:
            few = np.fromiter(self._few, np.uint32, len(self._few))
            self._few, self._registers = None, other._registers.copy()
            self.add(few)
        else:
            np.maximum(self._registers, other._registers, out=self._registers)

    def count(self) -> int:
        """How many there are; beyond EXACT about so many."""
        if self._few is not None:
            return len(self._few)
        registers = self._registers
        found = 0.7213 / (1 + 1.079 / REGISTERS) * REGISTERS**2 / float(np.sum(np.exp2(-registers.astype(np.float64))))
        empty = int(np.count_nonzero(registers == 0))
        if found <= 2.5 * REGISTERS and empty:
            found = REGISTERS * float(np.log(REGISTERS / empty))
        elif found > 2**32 / 30:
            found = -(2.0**32) * float(np.log1p(-min(found, 2.0**32 - 1) / 2**32))
        return max(EXACT + 1, round(found))

    def dump(self) -> tuple[list[int], str]:
        """What `Distinct` makes the same of, for JSON: the hashes in order, and the registers in hexadecimal digits."""
        return (sorted(self._few), "") if self._few is not None else ([], self._registers.tobytes().hex())


def _ranks(hashes: Hashes) -> Any:
    """Of each hash the place of the first bit that is set behind those that choose the register, from 1."""
    rest = (hashes & np.uint32((1 << 32 - BITS) - 1)).astype(np.float64)
    # Of 0 < x < 2^53 the exponent that frexp gives is the number of its bits.
    return (32 - BITS + 1 - np.frexp(rest)[1]).astype(np.uint8)


def of_bytes(values: Sequence[bytes]) -> Hashes:
    """The hashes of these bytes."""
    found = np.fromiter(map(crc32, values), np.uint32, len(values))
    # CRC-32 keeps different values apart; this scatters them (the end of MurmurHash3).
    found ^= found >> np.uint32(16)
    found *= np.uint32(0x85EBCA6B)
    found ^= found >> np.uint32(13)
    found *= np.uint32(0xC2B2AE35)
    found ^= found >> np.uint32(16)
    return found


def of_numbers(values: Any, salt: int) -> Hashes:
    """The hashes of numbers of 64 bits, an array of uint64; those with another salt have others (SplitMix64)."""
    found = values + np.uint64(salt)
    found ^= found >> np.uint64(30)
    found *= np.uint64(0xBF58476D1CE4E5B9)
    found ^= found >> np.uint64(27)
    found *= np.uint64(0x94D049BB133111EB)
    return (found >> np.uint64(32)).astype(np.uint32)
