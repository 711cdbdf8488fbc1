"""Options of another package: what it takes to add to coldlm without changing it. See README.md."""
