"""Claims ledger: statements of the source texts on patch sizes, and what arithmetic and shipped measurements decide.

Claims and studies are data (*.yaml in this folder); ledger.py reads and checks them. An estimate is a number with an
interval that a function computes, of the cost model (costs_of_patches.py, costs_of_memory.py), of formulas
(formulas.py) or of analysis/measured and notebooks/records (measured.py, flexible.py). verdict.py compares it with
what the claim predicts. page.py writes docs/claims.md. `make claims` prints a summary and writes the page.
"""
