"""The serving store on a directory tree: datasets, `catalog.json` and `latest.alias.json`."""
