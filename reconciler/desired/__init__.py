"""Desired state: from git objects (or the worktree) and YAML to `reconciler.model.Desired`."""
