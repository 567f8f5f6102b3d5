"""Storages: one file each, with its client, its reader and its writer."""
