"""Packaging. The folder `transforms/` stands beside `exporters_beam/` and is installed as `exporters_beam.transforms`."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["exporters_beam", "exporters_beam.*"], exclude=["exporters_beam.transforms*"]),
        "exporters_beam.transforms",
        *(f"exporters_beam.transforms.{name}" for name in find_packages("transforms")),
    ],
    package_dir={"exporters_beam": "exporters_beam", "exporters_beam.transforms": "transforms"},
    package_data={"exporters_beam": ["py.typed", "schema.json"]},
)
