"""Functions that the components `python` call in tests."""


def explode(record):
    return [{"k": k} for k in record["k"]]


def broken(record):
    raise ValueError(f"no good: {record}")
