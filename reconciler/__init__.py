"""GitOps for dataset catalogs and version tags.

Values move one way::

    desired/ at a commit ──load──▶ Desired ─┐
                                            ├─diff─▶ Steps ─▶ Plan ─policy─▶ Findings ─apply─▶ Receipts
    live stores ───────snapshot──▶ Observed ┘

There is no state file: git is the wish, the store is the truth, and the ledger beside each store is
the history and the inventory of what is ours. Deciding is pure; doing is at the edges.
"""

__version__ = "0.1.0"
