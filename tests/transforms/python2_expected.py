# ruff: noqa

"""Evaluates the expressions of python2_expected.json under Python 2.7 and writes what they give into it:
python2.7 tests/transforms/python2_expected.py"""

from __future__ import print_function

import calendar
import copy
import datetime
import io
import itertools
import json
import math
import os
import random
import re

MODULES = {module.__name__: module for module in (calendar, datetime, itertools, math, random, re)}

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "python2_expected.json")


def expected(source, item):
    try:
        value = eval(source, dict(MODULES, item=copy.deepcopy(item)))
        return {"gives": json.loads(json.dumps(value))}
    except Exception as error:
        return {"fails": type(error).__name__}


with io.open(PATH, encoding="utf-8") as stream:
    found = json.load(stream)
rows = [[source, expected(source, found["item"])] for source, _ in found["cases"]]
lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows]
text = json.dumps(found["item"], ensure_ascii=False, sort_keys=True)
with io.open(PATH, "w", encoding="utf-8") as stream:
    stream.write('{"item": %s,\n"cases": [\n%s\n]}\n' % (text, ",\n".join(lines)))
print(len(rows), "expressions")
