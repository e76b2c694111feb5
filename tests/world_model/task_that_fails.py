"""A module that cannot be imported, as another package's may be."""

raise RuntimeError("the author's mistake")
