"""The primitives that several layers share, and the obvious twin of each that is not obvious."""
