"""Use of a trained model: the model of a run or of an exported file, its predictions, exports, and Hub repositories.

trained.py loads a run; sources.py finds out what a path or an address holds; predictions.py and drawing.py are what
experiments/predict.py prints and draws; fixed_patch.py, exports.py and hub_repository.py are what experiments/export.py
writes.
"""

from scaling.inference.sources import load
from scaling.inference.trained import Trained, load_backbone

__all__ = ["Trained", "load", "load_backbone"]
