"""URLs of Redis: what is taken, what is refused, and that no password is said."""

import pytest
import redis

from tables.redis_client import RedisClient
from tables.redis_url import check_url, check_urls, place_of
from tests.kafka.certificates import write_certificates

PASSWORD = "s3cret"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://box", "box:6379"),
        ("redis://user:word@box:6380/3", "box:6380"),
        ("redis://user:a%23b@box", "box:6379"),
        ("redis://[::1]:6380", "::1:6380"),
        ("rediss://:word@box/0?ssl_cert_reqs=required", "box:6379"),
        ("unix:///run/redis.sock?db=1&password=word", "/run/redis.sock"),
        ("unix://user:word@/run/redis.sock", "/run/redis.sock"),
    ],
)
def test_a_place_is_named_without_credentials(url, place):
    check_urls(url)
    check_urls(f"{url},{url}")
    assert place_of(url) == place
    for wrong in (f"{url},http://there", f"{url},"):
        with pytest.raises(ValueError, match="must be redis://host:port/db"):
            check_urls(wrong)


@pytest.mark.parametrize("path", ["x", "1/2", "-1", "9" * 5_000])
def test_a_database_is_a_number(path):
    with pytest.raises(ValueError, match="must be redis://host:port/db"):
        check_url(f"redis://box/{path}")


@pytest.mark.parametrize(
    "url",
    [
        # A password that ends where the URL's own marks begin.
        f"redis://user:12#{PASSWORD}@box",
        f"redis://user:12?{PASSWORD}@box",
        f"redis://user:12/{PASSWORD}@box",
        f"redis://user:{PASSWORD}#@box",
        f"unix://user:{PASSWORD}#@/run/redis.sock",
        f"redis://box:{PASSWORD}",
        f"redis://:{PASSWORD}@[::1/0",
        f"redis://:{PASSWORD}@bo x",
        f"redis://:{PASSWORD}@box\n:6379",
        f"redis://:{PASSWORD}@box:0",
        f"redis://:{PASSWORD}@box:65536",
        f"REDIS://:{PASSWORD}@box",
        f"unix://{PASSWORD}/run/redis.sock",
        f"redis://:{PASSWORD}@",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match="must be redis://host:port/db") as said:
        check_url(url)
    assert PASSWORD not in str(said.value)
    assert said.value.__cause__ is None


@pytest.mark.parametrize(
    "query",
    [
        *("foo=1", "retry=3", "decode_responses=1", "encoding=nope", "host=127.0.0.9"),
        *("protocol=3", "socket_timeout=0", "client_name=a%20b", "retry_on_error=x"),
        *("ssl_cert_reqs=none", "ssl_ca_certs=/nowhere", "db=2", "username=user"),
        f"pasword={PASSWORD}",
    ],
)
def test_other_parameters_are_refused(query):
    with pytest.raises(ValueError, match="a redis:// address, each once: none") as said:
        check_url(f"redis://box/0?{query}")
    assert PASSWORD not in str(said.value)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("rediss://box?ssl_cert_reqs=foo", "one of required, optional, none"),
        ("rediss://box?ssl_cert_reqs=", "one of required, optional, none"),
        ("rediss://box?ssl_ca_certs=/nowhere", "a file of certificates"),
        ("rediss://box?ssl_check_hostname=0", "each once: ssl_ca_certs, ssl_cert_reqs"),
        ("unix:///run/redis.sock?db=one", "a number as db"),
        ("unix:///run/redis.sock?db=1&db=2", "each once: db, password, username"),
    ],
)
def test_parameters_have_values_that_can_be(url, what):
    with pytest.raises(ValueError, match=what):
        check_url(url)


def test_redis_py_takes_every_parameter(tmp_path):
    ca_file, _keystore = write_certificates(tmp_path)
    url = f"rediss://127.0.0.1:9/0?ssl_ca_certs={ca_file}&ssl_cert_reqs=optional"
    check_url(url)
    client = RedisClient(url)
    connection = client.raw.connection_pool.make_connection()
    assert isinstance(connection, redis.SSLConnection)
    assert connection.ca_certs == str(ca_file)
    client.close()
