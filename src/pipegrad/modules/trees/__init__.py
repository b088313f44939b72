"""Tree ensembles: hard and soft routing, leaf values, and what is computed of them."""
