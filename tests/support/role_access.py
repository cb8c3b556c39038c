"""A job's execution role that may do everything."""

from emulator.jobs.role_access import RoleAccess

EVERYTHING = RoleAccess(None, "", "us-east-1")
