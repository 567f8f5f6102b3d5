"""Writers: one file per kind of destination. Each says how a planned file is put in place."""
