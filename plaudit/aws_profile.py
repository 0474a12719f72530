"""The profile of the AWS tools that the environment asks for.

boto looks for it when the first object is asked for. By then a worker would take a
profile that is missing for a storage that may come back.
"""

from collections.abc import Mapping
from contextlib import suppress

from plaudit.errors import Unusable
from plaudit.settings import Settings


def check_profile(settings: Settings, environ: Mapping[str, str]) -> None:
    """Check that there is the profile by which snapshots would be stored.

    Args:
      settings: Where snapshots go; elsewhere than on ``s3://`` nothing is checked.
      environ: As boto reads it.

    Raises:
      Unusable: There is none of that name, or a file cannot be read.
    """
    name = environ.get("AWS_DEFAULT_PROFILE", environ.get("AWS_PROFILE"))
    if name is None or not settings.snapshots_url.lower().startswith("s3:"):
        return
    # Whoever keeps no snapshots loads none of it.
    from botocore.exceptions import ConfigParseError  # noqa: PLC0415

    try:
        known = _profiles(environ)
    except ConfigParseError as error:
        raise Unusable(f"{error}. Correct the file, or unset AWS_PROFILE") from error
    if name not in known:
        raise Unusable(
            f"AWS_PROFILE: there is no profile {name} in {_config(environ)} or "
            f"{_credentials(environ)}. Correct its name, or add it there"
        )


def _config(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_CONFIG_FILE", "~/.aws/config")


def _credentials(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")


def _profiles(environ: Mapping[str, str]) -> set[str]:
    """Return the names of all profiles; a file that is missing has none."""
    from botocore.configloader import load_config, raw_config_parse  # noqa: PLC0415
    from botocore.exceptions import ConfigNotFound  # noqa: PLC0415

    found: set[str] = set()
    with suppress(ConfigNotFound):
        found |= set(load_config(_config(environ))["profiles"])
    with suppress(ConfigNotFound):
        found |= set(raw_config_parse(_credentials(environ)))
    return found
