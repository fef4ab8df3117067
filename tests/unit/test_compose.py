"""The compose file and the image agree with the code and with the files that Prometheus and Grafana read."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from nearhit_worker.app import EXIT_SECONDS
from nearhit_worker.runtime import WORK_LANES
from redis.connection import parse_url

from nearhit.settings import Settings, setting_names
from nearhit.valkey.key_names import LogKeys
from tests.support import observability as seen

ROOT = seen.ROOT
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SCRAPES = {
    one["job_name"]: one for one in yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())["scrape_configs"]
}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FROM = re.findall(r"^FROM .+$", DOCKERFILE, re.MULTILINE)
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("nearhit:")}
each_service = pytest.mark.parametrize("name", SERVICES)


def filled_in(text: str) -> str:
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def mounts(name: str) -> dict[str, str]:
    pairs = [volume.split(":") for volume in SERVICES[name].get("volumes", [])]
    return {target: source for source, target, *_ in pairs}


def test_the_file_is_a_compose_file() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(ROOT / "docker-compose.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@each_service
def test_images_are_pinned(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].rpartition(":")
    assert image
    assert re.fullmatch(r"v?\d+(\.\d+)+(-alpine)?", tag)


@each_service
def test_every_service_restarts_and_has_limits(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    limits = SERVICES[name]["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"\d+[MG]", limits["memory"])


@each_service
def test_every_service_says_whether_it_is_healthy(name: str) -> None:
    assert "healthcheck" in SERVICES[name] or (name in OURS and "HEALTHCHECK" in DOCKERFILE)


@each_service
def test_a_service_starts_after_what_it_needs_is_healthy(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert needed in SERVICES
        assert how == {"condition": "service_healthy"}


@each_service
def test_published_ports_are_for_this_machine_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@each_service
def test_what_is_mounted_is_there(name: str) -> None:
    for source in mounts(name).values():
        assert source in COMPOSE["volumes"] or (ROOT / source).exists()


def test_no_secret_is_in_the_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|AUTH$|SECRET|TOKEN|_KEY", variable):
                assert value == "${VALKEY_PASSWORD:-}", f"{name}: {variable}"
        assert not re.search(r"://[^$/]*:[^$@/]+@", str(service))


def test_the_variables_of_the_file_are_those_of_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    offered = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used == offered
    assert {".env", "providers.env"} <= set((ROOT / ".gitignore").read_text().splitlines())


@pytest.mark.parametrize("name", OURS)
def test_keys_of_providers_reach_our_services(name: str) -> None:
    assert SERVICES[name]["env_file"] == [{"path": "providers.env", "required": False}]


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_set_up_with_settings_that_exist(name: str) -> None:
    environment = {key: filled_in(str(value)) for key, value in SERVICES[name]["environment"].items()}
    assert {key.removeprefix("NEARHIT_").lower() for key in environment} <= set(setting_names())
    settings = Settings.from_env(environment)
    assert urlsplit(settings.url).hostname in SERVICES
    assert urlsplit(settings.log_url).hostname in SERVICES
    assert settings.url != settings.log_url
    assert settings.metrics_host == "0.0.0.0"
    assert str(settings.metrics_port) in SERVICES[name]["expose"]
    for server in (settings.server({}), settings.log_server({})):
        assert not parse_url(server.plain_url).get("password")


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_modules_that_exist(name: str) -> None:
    python, flag, module, *_ = SERVICES[name]["command"]
    assert (python, flag) == ("python", "-m")
    assert importlib.util.find_spec(module) is not None


def test_a_worker_has_the_time_that_it_takes_to_stop() -> None:
    longest = Settings.from_env({}, threshold=0.9).embed_timeout_ms / 1000 + EXIT_SECONDS
    assert float(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > longest
    assert f"NEARHIT_EMBED_TIMEOUT_MS` + {EXIT_SECONDS:g} s" in (ROOT / "docs" / "operations.md").read_text()


def test_the_worker_can_be_scaled() -> None:
    worker = SERVICES["worker"]
    assert "container_name" not in worker
    assert "ports" not in worker
    assert SCRAPES["nearhit-worker"]["dns_sd_configs"][0]["names"] == ["worker"]


def test_the_demo_runs_only_when_asked_for() -> None:
    assert SERVICES["demo"]["profiles"] == ["demo"]
    assert [name for name, one in SERVICES.items() if "profiles" in one] == ["demo"]


def test_the_cache_may_evict_and_the_log_may_not_and_both_have_headroom() -> None:
    cache, broker = SERVICES["cache"], SERVICES["broker"]
    options = [dict(zip(one["command"][2::2], one["command"][3::2], strict=True)) for one in (cache, broker)]
    assert options[0]["--maxmemory-policy"] == "volatile-lru"
    assert options[0]["--appendonly"] == "no"
    assert options[1]["--maxmemory-policy"] == "noeviction"
    assert options[1]["--appendonly"] == "yes"
    assert mounts("broker")["/data"] in COMPOSE["volumes"]
    for one, limit in zip(options, (1536, 1024), strict=True):
        megabytes = {"1gb": 1024, "512mb": 512}[one["--maxmemory"]]
        assert megabytes <= limit * 0.75


def test_prometheus_scrapes_services_of_the_file_on_their_ports() -> None:
    for job in ("nearhit-worker", "nearhit-app"):
        (found,) = SCRAPES[job]["dns_sd_configs"]
        (name,) = found["names"]
        assert found["type"] == "A"
        assert str(found["port"]) in SERVICES[name]["expose"]
    for job in ("valkey-cache", "valkey-broker"):
        host, port = SCRAPES[job]["static_configs"][0]["targets"][0].split(":")
        assert port in SERVICES[host]["expose"]


def test_jobs_of_dashboards_and_rules_are_scraped() -> None:
    used = set()
    for asked in [*seen.panel_queries(), *seen.rule_queries()]:
        for jobs in re.findall(r'job=~?"([^"]+)"', asked.expr):
            used |= set(jobs.split("|"))
    assert used == {"nearhit-worker", "valkey-cache", "valkey-broker"}
    assert used <= SCRAPES.keys()


def test_prometheus_finds_its_files_where_they_are_mounted() -> None:
    found = mounts("prometheus")
    assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]
    assert found["/etc/prometheus/prometheus.yml"] == "./prometheus/prometheus.yml"
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    assert config["rule_files"] == ["rules/*.yml"]
    assert found["/etc/prometheus/rules"] == "./prometheus/rules"
    assert "--storage.tsdb.path=/prometheus" in SERVICES["prometheus"]["command"]
    assert "/prometheus" in found
    ((alertmanager,),) = [one["dns_sd_configs"] for one in config["alerting"]["alertmanagers"]]
    assert alertmanager["names"] == ["alertmanager"]
    (port,) = SERVICES["alertmanager"]["ports"]
    assert port == f"127.0.0.1:{alertmanager['port']}:{alertmanager['port']}"
    (grafana,) = SERVICES["grafana"]["ports"]
    assert config["global"]["external_labels"]["grafana"] == f"http://{grafana.rpartition(':')[0]}"


def test_grafana_finds_its_data_source_and_its_dashboards() -> None:
    found = mounts("grafana")
    assert found["/etc/grafana/provisioning"] == "./grafana/provisioning"
    (source,) = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    url = urlsplit(source["url"])
    assert (url.hostname, url.port) == ("prometheus", 9090)
    assert SERVICES["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    (provider,) = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/nearhit.yml").read_text())["providers"]
    assert found[provider["options"]["path"]] == "./grafana/dashboards"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    folder, _, name = home.rpartition("/")
    assert (ROOT / found[folder] / name).exists()
    scrape = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scrape


def test_exporters_ask_the_servers_and_watch_the_streams_of_the_log() -> None:
    for name, server in (("cache-exporter", "cache"), ("broker-exporter", "broker")):
        url = urlsplit(SERVICES[name]["environment"]["REDIS_ADDR"])
        assert (url.hostname, str(url.port)) == (server, SERVICES[server]["expose"][0])
    keys = LogKeys(SERVICES["worker"]["environment"]["NEARHIT_NAMESPACE"])
    streams = SERVICES["broker-exporter"]["environment"]["REDIS_EXPORTER_CHECK_SINGLE_STREAMS"].split(",")
    assert streams == [*(keys.log(lane) for lane in WORK_LANES), keys.dead]
    assert SERVICES["broker-exporter"]["command"] == [
        "-check-single-keys",
        ",".join(keys.retry(lane) for lane in WORK_LANES),
    ]


def test_the_image_runs_without_root_and_says_whether_it_lives() -> None:
    build, final = DOCKERFILE.split("\nFROM ")[-2:]
    assert "AS build" in build
    assert final.index("USER 10001:10001") < final.index("CMD [")
    assert "/health/live" in final
    port = str(Settings.from_env({}, threshold=0.9).metrics_port)
    assert f"EXPOSE {port}" in final
    assert f"127.0.0.1:{port}/health" in final


def test_what_the_image_copies_is_there_and_let_through() -> None:
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    ]
    assert set(copied) == admitted
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_says_what_it_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"ARG VERSION={project['version']}\nARG REVISION=unknown\n" in DOCKERFILE
    assert OURS["worker"]["image"] == f"nearhit:{project['version']}"
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]+)"', DOCKERFILE))
    assert labels["licenses"] in project["license"]["text"]
    assert (labels["version"], labels["revision"]) == ("$VERSION", "$REVISION")
    assert all(line.split()[1] == labels["base.name"].removeprefix("docker.io/library/") for line in FROM)


def test_settings_that_the_operations_page_names_exist() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    named = {one.lower() for one in re.findall(r"NEARHIT_([A-Z_]+)", text)}
    assert named <= set(setting_names())
