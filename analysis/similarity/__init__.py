"""Similarity of representations: CKA, the distance that follows from it, and a map of the points."""
