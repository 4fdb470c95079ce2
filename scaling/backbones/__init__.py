"""Backbones: an image in, features out.

base.py has the contract (Backbone, Features, TokenLayout), registry.py the families by name and build_backbone,
patch_embed.py and pos_embed.py how pixels become tokens that know where they lie. A family is one file: deit.py,
adventurer.py (with adventurer_block.py, adventurer_backbone.py and ssd/), timm_vit.py.
"""
