"""Where backups are kept: a local directory or a bucket, behind the port of `reconciler.backup.archive`."""
