"""Tree ensembles: hard and soft routing, leaf values, and features derived from them."""
