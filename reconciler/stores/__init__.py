"""The adapters: one package per live system, all behind `reconciler.stores.port`."""
