"""A package, because mmsegmentation installs one of this name that would hide a mere folder."""
