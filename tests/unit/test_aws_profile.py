"""The profile of the AWS tools by which snapshots are stored."""

import pytest

from plaudit.aws_profile import check_profile
from plaudit.errors import Unusable
from plaudit.settings import Settings

S3 = Settings(snapshots_url="s3://bucket/prefix")


@pytest.fixture
def environ(tmp_path):
    """An environment whose files name two profiles."""
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    config.write_text("[default]\nregion = eu-west-1\n[profile staging]\nregion = x\n")
    credentials.write_text("[production]\naws_access_key_id = a\n")
    return {
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
    }


@pytest.mark.parametrize("name", ["default", "staging", "production"])
@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_that_is_there(environ, variable, name):
    check_profile(S3, environ | {variable: name})


def test_a_profile_that_is_not_there(environ, tmp_path):
    with pytest.raises(Unusable, match="AWS_PROFILE: there is no profile other in"):
        check_profile(S3, environ | {"AWS_PROFILE": "other"})
    missing = {name: str(tmp_path / "nowhere") for name in environ}
    with pytest.raises(Unusable, match="there is no profile staging"):
        check_profile(S3, missing | {"AWS_PROFILE": "staging"})


def test_a_file_that_is_none(environ, tmp_path):
    (tmp_path / "config").write_text("no section")
    with pytest.raises(Unusable, match="Unable to parse config file"):
        check_profile(S3, environ | {"AWS_PROFILE": "staging"})


def test_nobody_else_needs_one(environ):
    check_profile(S3, environ)
    for url in ("", "file:///srv/x"):
        check_profile(
            Settings(snapshots_url=url), environ | {"AWS_PROFILE": "not there"}
        )
