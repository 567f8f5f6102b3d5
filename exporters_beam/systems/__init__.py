"""Systems that keep records themselves, as sources and as targets of records. One or two files per system."""
