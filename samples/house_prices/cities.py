"""The cities of the sample: each has a model of its own, at ``<region>/<city>.tar.gz``."""

# What a square meter costs there, in made-up money.
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
