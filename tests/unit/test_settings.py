import pytest

from api.config import BadSetting
from plaudit.settings import NAMES, Settings, variable
from tests.kafka.certificates import write_certificates


def test_the_environment_of_others_is_left_alone():
    assert Settings.from_env({"HOME": "/root", "PLAUDITX": "1"}) == Settings()


def test_every_setting_is_read():
    settings = Settings.from_env(
        {
            "PLAUDIT_DATA_DIR": "/srv/d",
            "PLAUDIT_HOST": "0.0.0.0",
            "PLAUDIT_PORT": "9000",
            "PLAUDIT_PARTITIONS": "8",
            "PLAUDIT_SERVER_THREADS": "3",
            "PLAUDIT_DRAIN_TIMEOUT_MS": "2000",
            "PLAUDIT_REDIS_URL": "unix:///run/redis.sock?db=2",
            "PLAUDIT_LOG_LEVEL": "info",
            "PLAUDIT_SNAPSHOTS_URL": "s3://bucket/prefix",
            "PLAUDIT_SNAPSHOT_EVERY_S": "60",
            "PLAUDIT_SNAPSHOTS_ENDPOINT_URL": "http://127.0.0.1:9000",
            "PLAUDIT_FAULT": "after_write:2",
            "PLAUDIT_API_BODY_BYTES_MAX": "2048",
        }
    )
    assert str(settings.data_dir) == "/srv/d"
    assert (settings.host, settings.port, settings.partitions) == ("0.0.0.0", 9000, 8)
    assert (settings.server_threads, settings.drain_timeout_ms) == (3, 2000)
    assert settings.redis_url == "unix:///run/redis.sock?db=2"
    assert (settings.log_level, settings.fault) == ("info", ("after_write", 2))
    assert (settings.snapshots_url, settings.snapshot_every_s) == (
        "s3://bucket/prefix",
        60,
    )
    assert settings.snapshots_endpoint_url == "http://127.0.0.1:9000"
    assert settings.api.body_bytes_max == 2048


def test_a_child_gets_the_same_settings():
    settings = Settings.from_env(
        {
            "PLAUDIT_PORT": "9000",
            "PLAUDIT_FAULT": "after_ack:1",
            "PLAUDIT_REDIS_URL": "redis://:word@box:6380/1",
        }
    )
    assert Settings.from_env(settings.environ()) == settings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PLAUDIT_PROT", "8400"),
        ("PLAUDIT_port", "8400"),
        ("PLAUDIT_", "1"),
        ("PLAUDIT_PORT", ""),
        ("PLAUDIT_PORT", "0"),
        ("PLAUDIT_PORT", "65536"),
        ("PLAUDIT_PORT", "8400 "),
        ("PLAUDIT_PORT", "٨"),
        ("PLAUDIT_PORT", "1" * 30),
        ("PLAUDIT_PARTITIONS", "0"),
        ("PLAUDIT_PARTITIONS", "1025"),
        ("PLAUDIT_LOG_LEVEL", "loud"),
        ("PLAUDIT_HOST", ""),
        ("PLAUDIT_DATA_DIR", ""),
        ("PLAUDIT_FAULT", "nowhere:1"),
        ("PLAUDIT_REDIS_URL", "box:6379"),
        ("PLAUDIT_REDIS_URL", "http://box"),
        ("PLAUDIT_REDIS_URL", "redis://"),
        ("PLAUDIT_REDIS_URL", "unix://"),
        ("PLAUDIT_REDIS_URL", "redis://box:port"),
        ("PLAUDIT_REDIS_URL", "redis://box?db=one"),
        ("PLAUDIT_REDIS_URL", "redis://box?foo=1"),
        ("PLAUDIT_API_NO_SUCH", "1"),
        ("PLAUDIT_API_BODY_BYTES_MAX", "1"),
    ],
)
def test_a_bad_variable_stops_the_start_and_is_named(name, text):
    with pytest.raises(BadSetting, match="(?i)" + name.removeprefix("PLAUDIT_API_")):
        Settings.from_env({name: text})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8400"),
        ("0.0.0.0", "http://127.0.0.1:8400"),
        ("::", "http://[::1]:8400"),
        ("::1", "http://[::1]:8400"),
        ("box.local", "http://box.local:8400"),
    ],
)
def test_the_url_reaches_what_is_listened_on(host, url):
    assert Settings(host=host).url == url


def test_no_password_is_shown():
    url = "redis://user:s3cret@box:6379/0"
    assert "s3cret" not in repr(Settings(redis_url=url))
    with pytest.raises(BadSetting) as said:
        Settings(redis_url=url.replace("redis", "http"))
    Settings(redis_url=f"{url},{url}")
    assert "s3cret" not in str(said.value)


def test_names_are_the_fields_of_the_environment():
    assert [variable(name) for name in NAMES][:2] == [
        "PLAUDIT_DATA_DIR",
        "PLAUDIT_HOST",
    ]


KAFKA = {"PLAUDIT_KAFKA_BROKERS": "k1:9092,k2:9092"}


def test_without_brokers_the_log_is_embedded():
    assert Settings.from_env({}).kafka is None
    # Other settings of Kafka say nothing without brokers.
    assert Settings.from_env({"PLAUDIT_KAFKA_REPLICATION": "1"}).kafka is None


def test_brokers_are_taken_with_their_defaults():
    kafka = Settings.from_env(KAFKA).kafka
    assert (kafka.brokers, kafka.security_protocol) == (
        "k1:9092,k2:9092",
        "PLAINTEXT",
    )
    assert (kafka.replication, kafka.min_insync_replicas) == (3, 2)
    one = Settings.from_env(KAFKA | {"PLAUDIT_KAFKA_REPLICATION": "1"}).kafka
    assert one.min_insync_replicas == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PLAUDIT_KAFKA_BROKERS", "k1"),
        ("PLAUDIT_KAFKA_BROKERS", "k1:9092,"),
        ("PLAUDIT_KAFKA_BROKERS", "kafka://k1:9092"),
        ("PLAUDIT_KAFKA_BROKERS", "hidden@k1:9092"),
        ("PLAUDIT_KAFKA_BROKERS", "user:hidden@k1:9092"),
        ("PLAUDIT_KAFKA_BROKERS", "k1:hidden"),
        ("PLAUDIT_KAFKA_BROKERS", "k1:0"),
        ("PLAUDIT_KAFKA_BROKERS", "k1:65536"),
        ("PLAUDIT_KAFKA_BROKERS", "k1:99999"),
        ("PLAUDIT_KAFKA_BROKERS", "k1:9092,k2:99999"),
        ("PLAUDIT_KAFKA_BROKERS", "k1:٩"),
        ("PLAUDIT_KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("PLAUDIT_KAFKA_SASL_MECHANISM", "GSSAPI"),
        ("PLAUDIT_KAFKA_REPLICATION", "0"),
        ("PLAUDIT_KAFKA_CA_FILE", "/nowhere/ca.pem"),
        # Without a name and a password.
        ("PLAUDIT_KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
    ],
)
def test_bad_settings_of_kafka_stop_the_start(name, value):
    with pytest.raises(BadSetting, match="PLAUDIT_KAFKA") as refused:
        Settings.from_env(KAFKA | {name: value})
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("content", ["", "not a certificate", None])
def test_a_file_of_certificates_holds_some(tmp_path, content):
    path = tmp_path / "ca.pem"
    path.mkdir() if content is None else path.write_text(content)
    with pytest.raises(BadSetting, match="PLAUDIT_KAFKA_CA_FILE names no file of cert"):
        Settings.from_env(KAFKA | {"PLAUDIT_KAFKA_CA_FILE": str(path)})


def test_a_file_of_certificates_is_taken(tmp_path):
    path = str(write_certificates(tmp_path)[0])
    kafka = Settings.from_env(KAFKA | {"PLAUDIT_KAFKA_CA_FILE": path}).kafka
    assert kafka.ca_file == path


def test_a_child_gets_the_settings_of_kafka():
    environ = KAFKA | {
        "PLAUDIT_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "PLAUDIT_KAFKA_SASL_USERNAME": "plaudit",
        "PLAUDIT_KAFKA_SASL_PASSWORD": "a=b c",
        "PLAUDIT_MASTER_KEY_FILE": "/keys/master.key",
    }
    settings = Settings.from_env(environ)
    assert Settings.from_env(settings.environ()) == settings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PLAUDIT_SNAPSHOTS_URL", "/srv/snapshots"),
        ("PLAUDIT_SNAPSHOTS_URL", "file://"),
        ("PLAUDIT_SNAPSHOTS_URL", "file:///"),
        ("PLAUDIT_SNAPSHOTS_URL", "file://host/srv"),
        ("PLAUDIT_SNAPSHOTS_URL", "gs://bucket/x"),
        ("PLAUDIT_SNAPSHOTS_URL", "s3://"),
        ("PLAUDIT_SNAPSHOTS_URL", "s3:///x"),
        ("PLAUDIT_SNAPSHOTS_URL", "s3://key:hidden@bucket/x"),
        ("PLAUDIT_SNAPSHOTS_URL", "s3://bucket/x?secret=hidden"),
        ("PLAUDIT_SNAPSHOTS_URL", "s3://[hidden"),
        ("PLAUDIT_SNAPSHOTS_URL", "s3://bucket:80/x"),
        ("PLAUDIT_SNAPSHOTS_URL", "s3://bucket:hidden/x"),
        ("PLAUDIT_SNAPSHOTS_URL", "s3://bucket/\nx"),
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "localhost:9000"),
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "http://key:hidden@host"),
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "http://"),
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "http://[hidden"),
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "http://host:hidden"),
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "http://host:99999"),
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "http://host:0"),
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "http://ho st"),
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "http://host/x?secret=hidden"),
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "http://host#hidden"),
        ("PLAUDIT_SNAPSHOT_EVERY_S", "0"),
        ("PLAUDIT_SNAPSHOT_EVERY_S", "86401"),
    ],
)
def test_a_bad_place_for_snapshots_is_refused_and_not_repeated(name, text):
    with pytest.raises(BadSetting, match=name) as refused:
        Settings.from_env({name: text})
    assert "hidden" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("url", ["", "file:///srv/x", "s3://bucket", "s3://bucket/a/b"])
def test_places_for_snapshots(url):
    assert Settings.from_env({"PLAUDIT_SNAPSHOTS_URL": url}).snapshots_url == url


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:9000", "https://s3.example.org", "http://[::1]:9000"),
        *("http://under_score:9000/behind/a/path", "HTTP://host"),
    ],
)
def test_servers_of_snapshots(url):
    settings = Settings.from_env({"PLAUDIT_SNAPSHOTS_ENDPOINT_URL": url})
    assert settings.snapshots_endpoint_url == url
