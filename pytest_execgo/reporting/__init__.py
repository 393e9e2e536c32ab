"""Layer 4: what people read: summaries, tables, failure texts, report properties."""
