"""Model archives: where they are stored, and how they are extracted onto a volume."""
