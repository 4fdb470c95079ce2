"""Several models on the same images: what lies between their blocks."""
