"""What AWS's services have in common: names of resources, and requests that can be read in one way only."""
