"""What AWS's services have in common on the wire: requests, errors, names of resources."""
