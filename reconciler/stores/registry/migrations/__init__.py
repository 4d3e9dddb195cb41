"""The history of the registry's tables; run by `reconciler registry migrate`."""
