"""Backups of stores: what is kept, how it is checked, how it comes back, and what a drill proves.

`document` is what a backup is, as values; `archive` is the place where backups are kept, as a port;
`create`, `verify` and `restore` move bytes between a store and an archive, through their ports only.
"""
