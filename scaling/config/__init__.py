"""The configuration of a run: a tree of frozen dataclasses (experiment.py), its identity, variants and old forms."""
