"""How the code in a container calls AWS, which is the emulator: region, address and credentials, as SDKs find them."""

from __future__ import annotations

from dataclasses import dataclass, field

from emulator.aws.request import CREDENTIALS


@dataclass(frozen=True)
class AwsSettings:
    """Those of one container."""

    region: str
    url: str  # of the emulator, for processes of this machine
    token: str = field(repr=False)  # by which the container gets its credentials, and no other does

    def environment(self, url: str) -> dict[str, str]:
        """The variables for a container that reaches the emulator at ``url``. [api] botocore's, and other SDKs'.

        SDKs take credentials from an address without TLS only if it is on this machine, or 169.254.170.2.
        """
        return {
            **self.region_variables,
            "AWS_ENDPOINT_URL": url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": url + CREDENTIALS,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.token,
        }

    @property
    def region_variables(self) -> dict[str, str]:
        """boto3 reads the second of these, most other SDKs the first."""
        return {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
