"""Packaging. The folder `transforms/` stands beside `exporters_beam/` and is installed as `exporters_beam.transforms`."""

from setuptools import setup

setup(
    packages=[
        "exporters_beam",
        "exporters_beam.compressions",
        "exporters_beam.formats",
        "exporters_beam.readers",
        "exporters_beam.storages",
        "exporters_beam.transforms",
        "exporters_beam.writers",
    ],
    package_dir={"exporters_beam": "exporters_beam", "exporters_beam.transforms": "transforms"},
    package_data={"exporters_beam": ["py.typed", "schema.json"]},
)
