"""Packing: images of any sizes as rows of tokens, several images per row (NaViT, arXiv 2307.06304, section 2.1)."""
