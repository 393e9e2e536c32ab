"""The checks on a history: `evidence` puts its rows in order, the others each look for ways in which a promise can break."""
