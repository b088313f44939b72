"""Training on tables larger than memory: rows are read in pieces, by one process or by many."""
