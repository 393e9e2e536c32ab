"""The os tools, one file each."""
