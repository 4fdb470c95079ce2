"""Heads: from what a backbone gives (Features, of a width and at a stride) to what a task needs.

feature_pyramid.py makes maps at fixed strides from a plain backbone at any patch; segmentation.py has the heads of
mmseg; openmmlab.py lets mmseg and mmdet run without a compiled mmcv. Importing these loads no OpenMMLab package:
building a head does.
"""
