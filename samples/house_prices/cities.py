"""The cities of the sample. Each has a model of its own, ``<region>/<city>.tar.gz``."""

# The price of a square meter, in an invented currency.
CITIES = {
    "europe/lisbon": 4200,
    "asia/osaka": 3600,
    "americas/toronto": 6100,
    "africa/nairobi": 1500,
    "europe/berlin": 5200,
    "asia/seoul": 9800,
    "americas/bogota": 1700,
    "africa/cairo": 900,
    "europe/warsaw": 3500,
    "asia/hanoi": 2300,
    "americas/chicago": 3900,
    "africa/accra": 1300,
}

TARGET_MODELS = [f"{city}.tar.gz" for city in CITIES]
