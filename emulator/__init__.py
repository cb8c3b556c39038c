"""SageMaker hosting, emulated: endpoints, instances, containers, models.

What a person touches lives in the package ``localmme``; what it pretends to be lives here.
Imports point one way: service -> hosting -> containers, artifacts -> limits, errors, events.
"""
