"""The schemes of URLs, each with the component that reads or writes there."""

from __future__ import annotations


def is_url(name: str) -> bool:
    return name.partition("://")[0] in SCHEMES and "://" in name


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
