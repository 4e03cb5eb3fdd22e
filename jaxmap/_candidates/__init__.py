"""Which ground truths a detection may match, best first: levels and preference. Floating point ends here."""
