"""What tests share: random scenes, oracles, files and plain definitions."""
