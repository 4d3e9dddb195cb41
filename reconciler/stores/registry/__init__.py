"""The dataset registry: content-addressed manifests, links, version tags, `latest` and `dev`."""
