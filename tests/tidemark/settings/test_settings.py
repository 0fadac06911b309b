from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.errors import ConfigError
from tidemark.runtime.settings import Settings, is_secret

KAFKA = {"TIDEMARK_BOOTSTRAP_SERVERS": "kafka.example:9093"}
PASSWORDS = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=12, max_size=40)


def test_nothing_set_means_the_embedded_kafka_and_folders_of_the_user() -> None:
    settings = Settings.from_environment({})

    assert settings.bootstrap_servers is None
    assert settings.kafka == {}
    assert settings.state_dir.is_absolute()
    assert settings.cache_dir.is_absolute()
    assert settings.state_dir != settings.cache_dir


def test_folders_and_servers_are_taken_from_the_environment() -> None:
    settings = Settings.from_environment(
        {
            "TIDEMARK_BOOTSTRAP_SERVERS": " a.example:9092 , [::1]:9092",
            "TIDEMARK_HOME": "/srv/state",
            "TIDEMARK_CACHE": "/srv/cache",
            "TIDEMARK_DATA": "/srv/data",
            "TIDEMARK_MAVEN_REPOSITORY": "https://mirror.example/maven/",
        }
    )

    assert settings.bootstrap_servers == "a.example:9092,[::1]:9092"
    assert settings.state_dir == Path("/srv/state")
    assert settings.cache_dir == Path("/srv/cache")
    assert settings.data_dir == Path("/srv/data")
    assert settings.maven_repository == "https://mirror.example/maven"


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_environment({"TIDEMARK_BOOTSTRAP_SERVERS": " "}).bootstrap_servers is None


@pytest.mark.parametrize("servers", ["kafka", "kafka:", ":9092", "kafka:port", "kafka:0", "kafka:70000", "a:1,,b:2"])
def test_servers_that_are_not_host_and_port_are_refused(servers: str) -> None:
    with pytest.raises(ConfigError, match=r"TIDEMARK_BOOTSTRAP_SERVERS.*write host:port"):
        Settings.from_environment({"TIDEMARK_BOOTSTRAP_SERVERS": servers})


def test_client_settings_pass_through_under_librdkafkas_names() -> None:
    settings = Settings.from_environment(
        KAFKA
        | {
            "TIDEMARK_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "TIDEMARK_KAFKA_SSL_CA_LOCATION": "/etc/ca.pem",
            "TIDEMARK_KAFKA_LOG_LEVEL": "3",
        }
    )

    assert settings.kafka == {"security.protocol": "SASL_SSL", "ssl.ca.location": "/etc/ca.pem", "log_level": "3"}


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n", encoding="utf-8")

    settings = Settings.from_environment(KAFKA | {"TIDEMARK_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password")})

    assert settings.kafka == {"sasl.password": "s3cret"}


def test_a_secret_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"TIDEMARK_KAFKA_SASL_PASSWORD_FILE names .*absent"):
        Settings.from_environment(KAFKA | {"TIDEMARK_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "absent")})


def test_a_value_and_a_file_for_the_same_property_are_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a", encoding="utf-8")
    both = {
        "TIDEMARK_KAFKA_SASL_PASSWORD": "b",
        "TIDEMARK_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password"),
    }

    with pytest.raises(ConfigError, match="keep one of the two"):
        Settings.from_environment(KAFKA | both)


@pytest.mark.parametrize(
    "name", ["ENABLE_AUTO_COMMIT", "ISOLATION_LEVEL", "ACKS", "TRANSACTIONAL_ID", "BOOTSTRAP_SERVERS", "GROUP_ID"]
)
def test_what_the_guarantees_rest_on_cannot_be_set_from_outside(name: str) -> None:
    with pytest.raises(ConfigError, match=f"TIDEMARK_KAFKA_{name} can't be set"):
        Settings.from_environment(KAFKA | {f"TIDEMARK_KAFKA_{name}": "x"})


def test_client_settings_without_a_kafka_to_use_them_on_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"TIDEMARK_KAFKA_SECURITY_PROTOCOL is set, but TIDEMARK_BOOTSTRAP_SERVERS"):
        Settings.from_environment({"TIDEMARK_KAFKA_SECURITY_PROTOCOL": "SSL"})


@given(password=PASSWORDS)
def test_no_secret_is_ever_printed_or_dumped(password: str) -> None:
    settings = Settings.from_environment(
        KAFKA
        | {
            "TIDEMARK_KAFKA_SASL_PASSWORD": password,
            "TIDEMARK_KAFKA_SSL_KEY_PASSWORD": password,
            "TIDEMARK_KAFKA_SSL_KEY_PEM": password,
            "TIDEMARK_KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": password,
            "TIDEMARK_KAFKA_SASL_USERNAME": "tidemark",
        }
    )

    for text in (repr(settings), str(settings), f"{settings}", settings.model_dump_json(), str(settings.masked())):
        assert password not in text
    assert settings.masked()["sasl.username"] == "tidemark"
    assert settings.kafka["sasl.password"] == password


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("sasl.password", True),
        ("ssl.keystore.password", True),
        ("ssl.key.pem", True),
        ("sasl.oauthbearer.config", True),
        ("sasl.oauthbearer.client.secret", True),
        ("sasl.username", False),
        ("security.protocol", False),
        ("ssl.ca.location", False),
    ],
)
def test_secrets_are_known_by_their_names(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


@given(password=PASSWORDS)
def test_a_child_process_gets_the_same_settings_by_its_environment(password: str) -> None:
    settings = Settings.from_environment(
        KAFKA
        | {
            "TIDEMARK_KAFKA_SASL_PASSWORD": password,
            "TIDEMARK_KAFKA_LOG_LEVEL": "3",
            "TIDEMARK_HOME": "/srv/state",
            "TIDEMARK_CACHE": "/srv/cache",
            "TIDEMARK_DATA": "/srv/data",
            "TIDEMARK_MAVEN_REPOSITORY": "https://mirror.example/maven",
        }
    )

    assert Settings.from_environment(settings.environment()) == settings
