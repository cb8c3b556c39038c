"""Model archives: where they come from, and how they get onto a volume."""
