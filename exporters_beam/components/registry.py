"""Every component by kind and name, as import strings: nothing is imported until it is used.

A component is found by its short name (`fs`), by the class path it had in exporters 0.6.18
(`exporters.readers.fs_reader.FSReader`), as `package.module:Class`, or by an entry point of the group
`exporters_beam.components` whose name is `kind.name` (`reader.postgres = my_package.readers:PostgresReader`).
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import threading
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, is_dataclass
from importlib.metadata import entry_points
from typing import Any

from exporters_beam.components.options import schema_of
from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """One component: `target` is "module:Class", `extra` the pip extra it needs, `legacy` its old class paths, and `as_before`
    options that make it behave like the old component, where it is named by one of them."""

    kind: str
    name: str
    target: str
    extra: str | None = None
    legacy: tuple[str, ...] = ()
    as_before: tuple[tuple[str, Any], ...] = ()


_READERS, _FORMATTERS = "exporters.readers", "exporters.export_formatter"

_FILTERS, _TRANSFORM, _GROUPERS = "exporters.filters", "exporters.transform", "exporters.groupers"

_PYTHON_2 = (("dialect", "python2"),)

ENTRIES: tuple[Entry, ...] = (
    Entry("reader", "azure_blob", "exporters_beam.storages.azure_blob:AzureBlobReader", extra="azure"),
    Entry("reader", "azure_file", "exporters_beam.storages.azure_file:AzureFileReader", extra="azure-file"),
    Entry("reader", "bigquery", "exporters_beam.systems.bigquery_reader:BigQueryReader", extra="bigquery"),
    Entry("reader", "dropbox", "exporters_beam.storages.dropbox:DropboxReader", extra="dropbox"),
    Entry("reader", "fs", "exporters_beam.readers.fs:FsReader",
          legacy=(f"{_READERS}.fs_reader.FSReader", f"{_READERS}.FSReader")),
    Entry("reader", "ftp", "exporters_beam.storages.ftp:FtpReader"),
    Entry("reader", "gcs", "exporters_beam.storages.gcs:GcsReader", extra="gcs"),
    Entry("reader", "hdfs", "exporters_beam.storages.hdfs:HdfsReader", extra="hdfs"),
    Entry("reader", "gdrive", "exporters_beam.storages.gdrive:GDriveReader", extra="gdrive"),
    Entry("reader", "http", "exporters_beam.storages.http:HttpReader"),
    Entry("reader", "kafka", "exporters_beam.systems.kafka_reader:KafkaReader", extra="kafka"),
    Entry("reader", "kafka_random", "exporters_beam.systems.kafka_older:KafkaRandomReader", extra="kafka",
          legacy=(f"{_READERS}.kafka_random_reader.KafkaRandomReader", f"{_READERS}.KafkaRandomReader"),
          as_before=(("bad_messages", "skip"),)),
    Entry("reader", "kafka_scanner", "exporters_beam.systems.kafka_older:KafkaScannerReader", extra="kafka",
          legacy=(f"{_READERS}.kafka_scanner_reader.KafkaScannerReader", f"{_READERS}.KafkaScannerReader"),
          as_before=(("bad_messages", "skip"),)),
    Entry("reader", "memory", "exporters_beam.readers.memory:MemoryReader"),
    Entry("reader", "mongodb", "exporters_beam.systems.mongodb_reader:MongodbReader", extra="mongodb"),
    Entry("reader", "pubsub", "exporters_beam.systems.pubsub_reader:PubsubReader", extra="pubsub"),
    Entry("reader", "random", "exporters_beam.readers.random:RandomReader",
          legacy=(f"{_READERS}.random_reader.RandomReader", f"{_READERS}.RandomReader")),
    Entry("reader", "rest_api", "exporters_beam.systems.rest_api_reader:RestApiReader"),
    Entry("reader", "s3", "exporters_beam.storages.s3:S3Reader", extra="s3",
          legacy=(f"{_READERS}.s3_reader.S3Reader", f"{_READERS}.S3Reader")),
    Entry("reader", "scrapy_cloud", "exporters_beam.systems.scrapy_cloud_reader:ScrapyCloudReader", extra="scrapy-cloud",
          legacy=(f"{_READERS}.hubstorage_reader.HubstorageReader", f"{_READERS}.HubstorageReader"),
          as_before=(("missing", "empty"),)),
    Entry("reader", "sftp", "exporters_beam.storages.sftp:SftpReader", extra="sftp"),
    Entry("reader", "sql", "exporters_beam.systems.sql_reader:SqlReader", extra="sql"),
    Entry("reader", "sqs", "exporters_beam.systems.sqs_reader:SqsReader", extra="sqs"),
    Entry("decompressor", "auto", "exporters_beam.compressions.auto:Auto"),
    Entry("decompressor", "bz2", "exporters_beam.compressions.bz2:Bz2"),
    Entry("decompressor", "none", "exporters_beam.compressions.none:Plain",
          legacy=("exporters.decompressors.NoDecompressor",)),
    Entry("decompressor", "xz", "exporters_beam.compressions.xz:Xz"),
    Entry("decompressor", "zip", "exporters_beam.compressions.zip:Zip"),
    Entry("decompressor", "zlib", "exporters_beam.compressions.zlib:Zlib",
          legacy=("exporters.decompressors.ZLibDecompressor",)),
    Entry("decompressor", "zstd", "exporters_beam.compressions.zstd:Zstd"),
    Entry("deserializer", "avro", "exporters_beam.formats.avro:AvroDeserializer"),
    Entry("deserializer", "csv", "exporters_beam.formats.csv:CsvDeserializer",
          legacy=("exporters.deserializers.CSVDeserializer",),
          as_before=(("ragged", "keep"), ("open_quotes", "keep"), ("bare_quotes", "keep"), ("duplicate_names", "last"))),
    Entry("deserializer", "fixed_width", "exporters_beam.formats.fixed_width:FixedWidthDeserializer"),
    Entry("deserializer", "json", "exporters_beam.formats.json:JsonDeserializer"),
    Entry("deserializer", "jsonlines", "exporters_beam.formats.json_lines:JsonLinesDeserializer",
          legacy=("exporters.deserializers.JsonLinesDeserializer",)),
    Entry("deserializer", "orc", "exporters_beam.formats.orc:OrcDeserializer"),
    Entry("deserializer", "parquet", "exporters_beam.formats.parquet:ParquetDeserializer"),
    Entry("deserializer", "xlsx", "exporters_beam.formats.xlsx:XlsxDeserializer", extra="excel"),
    Entry("deserializer", "xml", "exporters_beam.formats.xml:XmlDeserializer"),
    Entry("filter", "dupe", "exporters_beam.transforms.dupe:DupeFilter",
          legacy=(f"{_FILTERS}.dupe_filter.DupeFilter",)),
    Entry("filter", "jsonschema", "exporters_beam.transforms.filters:JsonSchemaFilter"),
    Entry("filter", "key_value", "exporters_beam.transforms.filters:KeyValueFilter",
          legacy=(f"{_FILTERS}.key_value_filters.KeyValueFilter", f"{_FILTERS}.key_value_filter.KeyValueFilter",
                  f"{_FILTERS}.KeyValueFilter"), as_before=_PYTHON_2),
    Entry("filter", "key_value_regex", "exporters_beam.transforms.filters:KeyValueRegexFilter",
          legacy=(f"{_FILTERS}.key_value_filters.KeyValueRegexFilter",
                  f"{_FILTERS}.key_value_regex_filter.KeyValueRegexFilter", f"{_FILTERS}.KeyValueRegexFilter"),
          as_before=_PYTHON_2),
    Entry("filter", "none", "exporters_beam.transforms.filters:NoFilter",
          legacy=(f"{_FILTERS}.no_filter.NoFilter", f"{_FILTERS}.NoFilter")),
    Entry("filter", "python", "exporters_beam.transforms.filters:PythonFilter"),
    Entry("filter", "pythonexp", "exporters_beam.transforms.filters:PythonexpFilter",
          legacy=(f"{_FILTERS}.pythonexp_filter.PythonexpFilter", f"{_FILTERS}.PythonexpFilter"), as_before=_PYTHON_2),
    Entry("filter", "sample", "exporters_beam.transforms.sample:SampleFilter"),
    Entry("transform", "explode", "exporters_beam.transforms.explode:ExplodeTransform"),
    Entry("transform", "fields", "exporters_beam.transforms.fields.transform:FieldsTransform"),
    Entry("transform", "flatson", "exporters_beam.transforms.flatson:FlatsonTransform",
          legacy=(f"{_TRANSFORM}.flatson_transform.FlatsonTransform",)),
    Entry("transform", "jq", "exporters_beam.transforms.jq:JqTransform", extra="jq",
          legacy=(f"{_TRANSFORM}.jq_transform.JQTransform", f"{_TRANSFORM}.JQTransform")),
    Entry("transform", "lookup", "exporters_beam.transforms.lookup:LookupTransform"),
    Entry("transform", "none", "exporters_beam.transforms.mappers:NoTransform",
          legacy=(f"{_TRANSFORM}.no_transform.NoTransform", f"{_TRANSFORM}.NoTransform")),
    Entry("transform", "python", "exporters_beam.transforms.mappers:PythonTransform"),
    Entry("transform", "pythonexp", "exporters_beam.transforms.mappers:PythonexpTransform",
          legacy=(f"{_TRANSFORM}.pythonexp_transform.PythonexpTransform", f"{_TRANSFORM}.PythonexpTransform"),
          as_before=_PYTHON_2),
    Entry("transform", "pythonmap", "exporters_beam.transforms.mappers:PythonMapTransform",
          legacy=(f"{_TRANSFORM}.pythonmap.PythonMapTransform",), as_before=_PYTHON_2),
    Entry("transform", "sort_keys", "exporters_beam.transforms.mappers:SortKeysTransform"),
    Entry("grouper", "file_key", "exporters_beam.transforms.groupers:FileKeyGrouper",
          legacy=(f"{_GROUPERS}.file_key_grouper.FileKeyGrouper", f"{_GROUPERS}.FileKeyGrouper")),
    Entry("grouper", "none", "exporters_beam.transforms.groupers:NoGrouper",
          legacy=(f"{_GROUPERS}.no_grouper.NoGrouper", f"{_GROUPERS}.NoGrouper")),
    Entry("grouper", "partition", "exporters_beam.transforms.partition:PartitionGrouper"),
    Entry("grouper", "python", "exporters_beam.transforms.groupers:PythonGrouper"),
    Entry("grouper", "python_exp", "exporters_beam.transforms.groupers:PythonExpGrouper",
          legacy=(f"{_GROUPERS}.python_exp_grouper.PythonExpGrouper", f"{_GROUPERS}.PythonExpGrouper"),
          as_before=_PYTHON_2),
    Entry("formatter", "avro", "exporters_beam.formats.avro:AvroFormat"),
    Entry("formatter", "csv", "exporters_beam.formats.csv:CsvFormat",
          legacy=(f"{_FORMATTERS}.csv_export_formatter.CSVExportFormatter", f"{_FORMATTERS}.CSVExportFormatter")),
    Entry("formatter", "json", "exporters_beam.formats.json_text:JsonFormat",
          legacy=(f"{_FORMATTERS}.json_export_formatter.JsonExportFormatter", f"{_FORMATTERS}.JsonExportFormatter"),
          as_before=(("allow_nan", True),)),
    Entry("formatter", "orc", "exporters_beam.formats.orc:OrcFormat"),
    Entry("formatter", "parquet", "exporters_beam.formats.parquet:ParquetFormat"),
    Entry("formatter", "xlsx", "exporters_beam.formats.xlsx:XlsxFormat", extra="excel"),
    Entry("formatter", "xml", "exporters_beam.formats.xml:XmlFormat",
          legacy=(f"{_FORMATTERS}.xml_export_formatter.XMLExportFormatter", f"{_FORMATTERS}.XMLExportFormatter")),
    Entry("write_buffer", "default", "exporters_beam.writers.buffers:WriteBuffer",
          legacy=("exporters.write_buffers.base.WriteBuffer",)),
    Entry("write_buffer", "reservoir_sampling", "exporters_beam.writers.buffers:ReservoirSamplingWriteBuffer",
          legacy=("exporters.write_buffers.reservoir_sampling_buffer.ReservoirSamplingWriteBuffer",)),
    Entry("writer", "aggregation_stats", "exporters_beam.writers.aggregation_stats:AggregationStatsWriter",
          legacy=("exporters.writers.aggregation_stats_writer.AggregationStatsWriter",
                  "exporters.writers.AggregationStatsWriter")),
    Entry("writer", "azure_blob", "exporters_beam.storages.azure_blob:AzureBlobWriter", extra="azure",
          legacy=("exporters.writers.azure_blob_writer.AzureBlobWriter", "exporters.writers.AzureBlobWriter")),
    Entry("writer", "azure_file", "exporters_beam.storages.azure_file:AzureFileWriter", extra="azure-file",
          legacy=("exporters.writers.azure_file_writer.AzureFileWriter", "exporters.writers.AzureFileWriter")),
    Entry("writer", "console", "exporters_beam.writers.console:ConsoleWriter",
          legacy=("exporters.writers.console_writer.ConsoleWriter", "exporters.writers.ConsoleWriter")),
    Entry("writer", "dropbox", "exporters_beam.storages.dropbox:DropboxWriter", extra="dropbox",
          legacy=("exporters.writers.dropbox_writer.DropboxWriter", "exporters.writers.DropboxWriter")),
    Entry("writer", "fs", "exporters_beam.writers.fs:FsWriter",
          legacy=("exporters.writers.fs_writer.FSWriter", "exporters.writers.FSWriter")),
    Entry("writer", "ftp", "exporters_beam.storages.ftp:FtpWriter",
          legacy=("exporters.writers.ftp_writer.FTPWriter", "exporters.writers.FTPWriter")),
    Entry("writer", "gcs", "exporters_beam.storages.gcs:GcsWriter", extra="gcs",
          legacy=("exporters.writers.gstorage_writer.GStorageWriter", "exporters.writers.GStorageWriter")),
    Entry("writer", "hdfs", "exporters_beam.storages.hdfs:HdfsWriter", extra="hdfs"),
    Entry("writer", "gdrive", "exporters_beam.storages.gdrive:GDriveWriter", extra="gdrive",
          legacy=("exporters.writers.gdrive_writer.GDriveWriter", "exporters.writers.GDriveWriter")),
    Entry("writer", "mail", "exporters_beam.writers.mail:MailWriter",
          legacy=("exporters.writers.mail_writer.MailWriter", "exporters.writers.MailWriter")),
    Entry("writer", "bigquery", "exporters_beam.systems.bigquery_writer:BigQueryWriter", extra="bigquery"),
    Entry("writer", "kafka", "exporters_beam.systems.kafka_writer:KafkaWriter", extra="kafka"),
    Entry("writer", "cloudsearch", "exporters_beam.systems.cloudsearch:CloudSearchWriter", extra="cloudsearch",
          legacy=("exporters.writers.cloudsearch_writer.CloudSearchWriter", "exporters.writers.CloudSearchWriter")),
    Entry("writer", "elasticsearch", "exporters_beam.systems.search:ElasticsearchWriter", extra="elasticsearch"),
    Entry("writer", "opensearch", "exporters_beam.systems.search:OpenSearchWriter", extra="opensearch"),
    Entry("writer", "memory", "exporters_beam.writers.memory:MemoryWriter"),
    Entry("writer", "mongodb", "exporters_beam.systems.mongodb_writer:MongodbWriter", extra="mongodb"),
    Entry("writer", "pubsub", "exporters_beam.systems.pubsub_writer:PubsubWriter", extra="pubsub"),
    Entry("writer", "reduce", "exporters_beam.writers.reduce:ReduceWriter",
          legacy=("exporters.writers.reduce_writer.ReduceWriter", "exporters.writers.ReduceWriter")),
    Entry("writer", "rest_api", "exporters_beam.systems.rest_api_writer:RestApiWriter"),
    Entry("writer", "s3", "exporters_beam.storages.s3:S3Writer", extra="s3",
          legacy=("exporters.writers.s3_writer.S3Writer", "exporters.writers.S3Writer")),
    Entry("writer", "scrapy_cloud", "exporters_beam.systems.scrapy_cloud_writer:ScrapyCloudWriter", extra="scrapy-cloud",
          legacy=("exporters.writers.hubstorage_writer.HubstorageWriter", "exporters.writers.HubstorageWriter")),
    Entry("writer", "scrapy_cloud_reduce", "exporters_beam.systems.scrapy_cloud_writer:ScrapyCloudReduceWriter",
          extra="scrapy-cloud", legacy=("exporters.writers.hs_reduce_writer.HubstorageReduceWriter",
                                        "exporters.writers.HubstorageReduceWriter")),
    Entry("writer", "sftp", "exporters_beam.storages.sftp:SftpWriter", extra="sftp",
          legacy=("exporters.writers.sftp_writer.SFTPWriter", "exporters.writers.SFTPWriter")),
    Entry("writer", "sql", "exporters_beam.systems.sql_writer:SqlWriter", extra="sql"),
    Entry("writer", "sqs", "exporters_beam.systems.sqs_writer:SqsWriter", extra="sqs"),
    Entry("persistence", "pickle", "exporters_beam.config.persistence:PicklePersistence",
          legacy=("exporters.persistence.pickle_persistence.PicklePersistence",
                  "exporters.persistence.PicklePersistence")),
    Entry("persistence", "mysql", "exporters_beam.config.persistence:MysqlPersistence",
          legacy=("exporters.persistence.alchemy_persistence.MysqlPersistence",
                  "exporters.persistence.MysqlPersistence")),
    Entry("persistence", "postgresql", "exporters_beam.config.persistence:PostgresqlPersistence",
          legacy=("exporters.persistence.alchemy_persistence.PostgresqlPersistence",
                  "exporters.persistence.PostgresqlPersistence")),
    Entry("persistence", "sqlite", "exporters_beam.config.persistence:SqlitePersistence",
          legacy=("exporters.persistence.alchemy_persistence.SqlitePersistence",)),
    Entry("stats_manager", "basic", "exporters_beam.reporting.stats:BasicStatsManager",
          legacy=("exporters.stats_managers.basic_stats_manager.BasicStatsManager",
                  "exporters.stats_managers.BasicStatsManager")),
    Entry("stats_manager", "logging", "exporters_beam.reporting.stats:LoggingStatsManager",
          legacy=("exporters.stats_managers.logging_stats_manager.LoggingStatsManager",
                  "exporters.stats_managers.LoggingStatsManager")),
    Entry("notification", "ses_mail", "exporters_beam.reporting.notify:SesMailNotifier", extra="ses",
          legacy=("exporters.notifications.ses_mail_notifier.SESMailNotifier",
                  "exporters.notifications.SESMailNotifier")),
    Entry("notification", "webhook", "exporters_beam.reporting.notify:WebhookNotifier",
          legacy=("exporters.notifications.webhook_notifier.WebhookNotifier",
                  "exporters.notifications.WebhookNotifier")),
)  # fmt: skip

GONE = {
    "exporters.contrib.writers.odo_writer.ODOWriter":
        "never worked: exporters 0.6.18 refused every config that has it; for CSV use the writer fs with the formatter csv, "
        "behind the transform flatson",
}  # fmt: skip
"""Old class paths that nothing takes the place of, and what to do instead."""

KINDS = tuple(dict.fromkeys(entry.kind for entry in ENTRIES))
"""Kinds of components. Sections of a config that take each: see `schema.SECTIONS`."""

_BY_NAME = {(e.kind, name): e for e in ENTRIES for name in (e.name, *e.legacy)}

_ROOMS = ("exporters_beam.readers.", "exporters_beam.writers.", "exporters_beam.formats.json_lines:",
          "exporters_beam.notify:", "exporters_beam.persistence:", "exporters_beam.stats:")  # fmt: skip
"""Where components of ours stood before: a config may still name them so."""

_FORMER = {(e.kind, e.target.partition(":")[2]): e.target for e in ENTRIES}

_KINDS_OF_LEGACY = {name: e.kind for e in ENTRIES for name in e.legacy}


def find(kind: str, name: str) -> Entry:
    """The entry of a component. Raises ConfigError, with the nearest name that exists, where there is none."""
    entry = _BY_NAME.get((kind, name))
    if entry is not None:
        return entry
    if ":" in name:
        return Entry(kind, name, _FORMER.get((kind, name.partition(":")[2]), name) if name.startswith(_ROOMS) else name)
    found = [plugin for plugin in _plugins() if (plugin.kind, plugin.name) == (kind, name)]
    if len({plugin.target for plugin in found}) > 1:
        told = " and ".join(f"{plugin.target} of {plugin.package}" for plugin in found)
        raise ConfigError(f"name: several packages have a {kind} called {name!r}: {told}; name one as package.module:Class")
    if found:
        return Entry(kind, name, found[0].target)
    if name in GONE:
        database = ", for a database the writer sql" if ("writer", "sql") in _BY_NAME else ""
        raise ConfigError(f"name: {name} {GONE[name]}{database}")
    other = _KINDS_OF_LEGACY.get(name)
    if other is not None:
        raise ConfigError(f"name: {name} is a {other}, not a {kind}")
    raise ConfigError(f"name: there is no {kind} called {name!r}{_hint(kind, name)}")


def _hint(kind: str, name: str) -> str:
    """The end of a sentence about a name that nothing has. The nearest of our names says nothing of a class path."""
    module, _, attribute = name.rpartition(".")
    if not module or not attribute[:1].isupper():
        return did_you_mean(name, names(kind))
    tails = {path.rpartition(".")[2]: e.name for e in ENTRIES if e.kind == kind for path in e.legacy}
    near = difflib.get_close_matches(attribute, tails, n=1, cutoff=0.9)
    if near:
        return f'; did you mean "{tails[near[0]]}"?'
    try:
        known = not name.startswith("exporters.") and importlib.util.find_spec(module) is not None
    except (ImportError, AttributeError, ValueError):
        known = False
    if known:
        return f'; a component of your own is named "{module}:{attribute}"'
    return f"; known: {', '.join(names(kind))}"


def names(kind: str) -> tuple[str, ...]:
    """Short names of a kind, those of installed plugins included, sorted."""
    own = [e.name for e in ENTRIES if e.kind == kind]
    return tuple(sorted({*own, *(plugin.name for plugin in _plugins() if plugin.kind == kind)}))


GROUP = "exporters_beam.components"
"""The group of entry points in which installed packages name their components."""


@dataclass(frozen=True)
class _Plugin:
    """An entry point of an installed package."""

    kind: str
    name: str
    target: str
    package: str


def _plugins() -> list[_Plugin]:
    """Components of installed packages. Nothing of them is imported."""
    found = []
    for point in entry_points(group=GROUP):
        kind, _, name = point.name.partition(".")
        package = point.dist.name if point.dist is not None else "an installed package"
        found.append(_Plugin(kind, name, point.value, package))
    return found


def plugin_entries() -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """(the components of installed packages that can be named, what is wrong with others: a sentence for each)."""
    entries: list[Entry] = []
    wrong = []
    for plugin in _plugins():
        what = f"{plugin.package}: the {plugin.kind} {plugin.name}"
        if plugin.kind not in KINDS or not plugin.name:
            whole = f"{plugin.kind}.{plugin.name}" if plugin.name else plugin.kind
            wrong.append(f"{plugin.package}: the entry point {whole!r} is not used; its name has to be KIND.NAME, "
                         f"with one of the kinds {', '.join(KINDS)}")  # fmt: skip
        elif (plugin.kind, plugin.name) in _BY_NAME:
            wrong.append(f"{what} is not used: a component of exporters-beam has this name")
        else:
            try:
                entry = find(plugin.kind, plugin.name)
                schema_of(load(entry))
            except ConfigError as error:
                wrong.append(f"{plugin.package}: {error.problems[0].message.removeprefix('name: ')}")
            except Exception as error:  # of options that are declared in another way
                wrong.append(f"{what} has options that cannot be read: {type(error).__name__}: {error}")
            else:
                if entry not in entries:
                    entries.append(entry)
    return tuple(entries), tuple(dict.fromkeys(wrong))


def load(entry: Entry) -> type[Any]:
    """Import a component's class. Raises ConfigError where that cannot be done or it is not a component."""
    module, _, attribute = entry.target.partition(":")
    what = f"the {entry.kind} {entry.name}" if entry.name != entry.target else entry.name
    try:
        found = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise ConfigError(f"name: {what} cannot be imported: {error}") from error
    except AttributeError:
        raise ConfigError(f"name: the module {module} has no class {attribute!r}") from None
    if not (isinstance(found, type) and is_dataclass(found)):
        raise ConfigError(f"name: {what} is not a component; a component is a frozen dataclass")
    declared = getattr(found, "kind", None)
    if declared is not None and declared != entry.kind:
        raise ConfigError(f"name: {what} is a {declared}, not a {entry.kind}")
    return found


def import_module(name: str) -> Any:
    """Import a module that is not ours. Raises ImportError, whatever goes wrong in it: modules may do anything.

    What it prints goes to standard error; standard output may be a report or a schema.
    """
    alone = threading.current_thread() is threading.main_thread()  # else records may be printed just now
    try:
        with redirect_stdout(sys.stderr) if alone else nullcontext():
            return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(_line(str(error))) from error
    except SyntaxError as error:
        raise ImportError(_line(f"{error.filename}, line {error.lineno}: {error.msg}")) from error
    except SystemExit as error:
        raise ImportError(f"the module {name} ends the program when it is imported (sys.exit)") from error
    except Exception as error:
        raise ImportError(_line(f"{type(error).__name__}: {error}")) from error


def _line(text: str) -> str:
    return " ".join(text.split())
