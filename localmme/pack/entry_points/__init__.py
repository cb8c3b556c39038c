"""The ``code/inference.py`` of each flavor, as ``pack`` writes it into archives: each file stands for itself."""
