"""SageMaker hosting, emulated: endpoints, instances, containers, models.

What a person uses is in the package ``localmme``. docs/how-it-works.md shows the rooms of this one.
"""
