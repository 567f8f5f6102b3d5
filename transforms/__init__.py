"""Steps between reader and writer: filters, transforms, groupers and the ParDos that apply them.

The folder stands at the top of the repository and is imported as `exporters_beam.transforms` only.
"""

if __name__ != "exporters_beam.transforms":
    raise ImportError(f"import this package as exporters_beam.transforms, not as {__name__}")
