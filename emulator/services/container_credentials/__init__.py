"""Where containers get the credentials of their execution role, as SDKs look for them in Amazon's containers."""
