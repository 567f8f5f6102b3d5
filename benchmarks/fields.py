"""What the transform `fields` costs beside the same in expressions and in a loop written by hand.

    python benchmarks/fields.py [RECORDS]

Each job makes the same of the same records three times: by `fields`, by `pythonexp` (or `pythonmap`), and by a function written
for it. Runs are paired: in each round all three have the same records, in turn; what is printed are medians of ratios.
"""

from __future__ import annotations

import copy
import gc
import hashlib
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from statistics import median
from typing import Any

from exporters_beam.components.options import build
from exporters_beam.transforms.fields.transform import FieldsTransform
from exporters_beam.transforms.mappers import PythonexpTransform, PythonMapTransform

ROUNDS, CHUNK = 15, 250

Record = dict[str, Any]


def record(n: int) -> Record:
    return {
        "id": str(n), "name": f" Item {n} ", "price": f"{n % 900}.50", "stock": str(n % 40), "email": f"User{n}@Example.org",
        "seller": {"town": f"Town {n % 70}", "vat": "DK1"}, "tags": ["a", "b"], "card": "5500000000000004", "internal": n,
        "city": "Vejle", "day": "31/12/2025", "text": "x" * 200,
    }  # fmt: skip


def renamed_by_hand(r: Record) -> Record:
    found = {"title" if name == "name" else name: value for name, value in r.items() if name != "internal"}
    found["source"] = "shop"
    return found


def typed_by_hand(r: Record) -> Record:
    r["id"], r["stock"], r["price"] = int(r["id"]), int(r["stock"]), float(r["price"])
    return r


def chosen_by_hand(r: Record) -> Record:
    return {"id": r["id"], "title": r["name"].strip(), "price": Decimal(r["price"]), "city": r["city"]}


def hidden_by_hand(r: Record) -> Record:
    r["email"] = hashlib.sha256(r["email"].lower().encode()).hexdigest()
    r["card"] = "*" * (len(r["card"]) - 4) + r["card"][-4:]
    return r


def nested_by_hand(r: Record) -> Record:
    seller = r.pop("seller")
    r["town"], r["vat"] = seller.pop("town"), seller.pop("vat")
    for name, value in seller.items():
        r[f"seller_{name}"] = value
    return r


JOBS: dict[str, tuple[dict[str, Any], Any, Callable[[Record], Record]]] = {
    "drop, rename, set": (
        {"drop": ["internal"], "rename": {"name": "title"}, "set": {"source": "shop"}},
        ("item.update(title=item.pop('name'), source='shop')", "item.pop('internal', None)"),
        renamed_by_hand,
    ),
    "three types": (
        {"types": {"id": "integer", "stock": "integer", "price": "number"}},
        ("item.update(id=int(item['id']), stock=int(item['stock']), price=float(item['price']))",),
        typed_by_hand,
    ),
    "choose 4 of 12, trim": (
        {"rename": {"name": "title"}, "trim": ["title"], "select": ["id", "title", "price", "city"]},
        "{'id': item['id'], 'title': item['name'].strip(), 'price': item['price'], 'city': item['city']}",
        lambda r: {"id": r["id"], "title": r["name"].strip(), "price": r["price"], "city": r["city"]},
    ),
    "hash and mask": (
        {"lower": ["email"], "hash": {"email": "sha256"}, "mask": {"card": 4}},
        ("item.update(email=sha256(item['email'].lower()), card='*' * (len(item['card']) - 4) + item['card'][-4:])",),
        hidden_by_hand,
    ),
    "members of a mapping": (
        {"rename": {"seller.town": "town", "seller.vat": "vat"}, "flatten": ["seller"]},
        ("item.update(town=item['seller']['town'], vat=item['seller']['vat'])", "item.pop('seller')"),
        nested_by_hand,
    ),
}


def main(count: int) -> None:
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)  # as in an export
    records = [record(n) for n in range(count)]
    print(f"{'':<22} {'fields':>10} {'/ expression':>14} {'/ by hand':>12}   (µs of CPU a record, ratios)")
    for name, (options, source, by_hand) in JOBS.items():
        fields = build(FieldsTransform, options, {}).map
        expression = PythonMapTransform(map_expression=source) if isinstance(source, str) else (
            PythonexpTransform(python_expressions=source))  # fmt: skip
        same(fields, expression.map, by_hand)
        rounds = [[taken(work, records) for work in (fields, expression.map, by_hand)] for _ in range(ROUNDS)]
        ours = median(each[0] for each in rounds)
        beside, loop = (median(each[0] / each[n] for each in rounds) for n in (1, 2))
        print(f"{name:<22} {ours / count * 1e6:>8.2f}µs {beside:>14.2f} {loop:>12.2f}")


def same(*works: Callable[[Record], Any]) -> None:
    """Ends the benchmark where they do not make the same of a record."""
    found = [work(record(7)) for work in works]
    for each in found[1:]:
        if each != found[0]:
            raise SystemExit(f"not the same:\n{found[0]}\n{each}")


def taken(work: Callable[[Record], Any], records: list[Record]) -> float:
    """The CPU that this takes for copies of the records, made a chunk at a time, as a decoder makes them."""
    found = 0.0
    for at in range(0, len(records), CHUNK):
        given = copy.deepcopy(records[at : at + CHUNK])
        before = time.process_time()
        list(map(work, given))
        found += time.process_time() - before
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
