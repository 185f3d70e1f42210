"""Sets of graphs beside one another, in numpy and networkx alone."""
