"""Heads: from a backbone's Features to the outputs of a task.

feature_pyramid.py makes maps at fixed strides from a plain backbone at any patch size; segmentation.py has the heads of
mmseg, cascade_mask_rcnn.py that of mmdet; openmmlab.py lets both run without a compiled mmcv. Importing these files
loads no OpenMMLab package: building a head does.
"""
