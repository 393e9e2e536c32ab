"""Saved states of a run: kept in memory or in a file, from which a run that was cut short goes on."""
