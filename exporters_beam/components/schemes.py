"""The schemes of URLs, each with the storage that reads or writes there."""

from __future__ import annotations

from importlib.metadata import entry_points

GROUP = "exporters_beam.storages"
"""The entry points by which other packages name storages: the scheme of their URLs and the class."""


def is_url(name: str) -> bool:
    """Whether this is a URL of a storage, of ours or of an installed package's."""
    scheme, found, _ = name.partition("://")
    return bool(found) and storage_of(scheme) is not None


def storage_of(scheme: str) -> str | None:
    """The class of the storage whose URLs begin so, as an import string; its `of_url` makes a storage of a URL."""
    if scheme in SCHEMES:
        return SCHEMES[scheme]
    return next((point.value for point in entry_points(group=GROUP, name=scheme)), None)


def known_schemes() -> str:
    """All of them, for messages."""
    others = sorted(point.name for point in entry_points(group=GROUP) if point.name not in SCHEMES)
    return ", ".join(f"{name}://" for name in (*SCHEMES, *others))


SCHEMES = {
    "az": "exporters_beam.storages.azure_blob:AzureBlobStorage",
    "azfile": "exporters_beam.storages.azure_file:AzureFileStorage",
    "dropbox": "exporters_beam.storages.dropbox:DropboxStorage",
    "ftp": "exporters_beam.storages.ftp:FtpStorage",
    "ftps": "exporters_beam.storages.ftp:FtpStorage",
    "gdrive": "exporters_beam.storages.gdrive:GoogleDriveStorage",
    "gs": "exporters_beam.storages.gcs:GcsStorage",
    "hdfs": "exporters_beam.storages.hdfs:HdfsStorage",
    "http": "exporters_beam.storages.http:HttpStorage",
    "https": "exporters_beam.storages.http:HttpStorage",
    "s3": "exporters_beam.storages.s3:S3Storage",
    "sftp": "exporters_beam.storages.sftp:SftpStorage",
}
