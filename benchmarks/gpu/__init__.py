"""`irasim bench gpu`: proves, measures and trains on a GPU that is lent for minutes."""
