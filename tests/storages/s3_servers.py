"""More servers that speak the protocol of S3: MinIO encrypts, s3proxy knows canned ACLs and storage classes."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator

import pytest

from places import CACHE, SECRET, Place, answers, free_port, program, s3_place, serving

KMS_KEY = "test-key"


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = program("minio", "go install github.com/minio/minio@latest")
    port, folder = free_port(), tmp_path_factory.mktemp("minio")
    with serving(
        [command, "server", "--address", f"127.0.0.1:{port}", "--quiet", str(folder / "data")],
        answers(f"http://127.0.0.1:{port}/minio/health/ready", well=True),
        folder / "log",
        minio_environ(),
    ):
        yield f"http://127.0.0.1:{port}"


def minio_environ() -> dict[str, str]:
    return {
        "MINIO_ROOT_USER": "rootkey",
        "MINIO_ROOT_PASSWORD": SECRET,
        "MINIO_BROWSER": "off",
        "MINIO_KMS_SECRET_KEY": f"{KMS_KEY}:{base64.b64encode(bytes(range(32))).decode()}",
    }


@pytest.fixture
def minio(minio_server: str) -> Place:
    return s3_place(minio_server)


@pytest.fixture(scope="session")
def s3proxy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    jars = CACHE.parent / "s3proxy" / "lib"
    if not jars.is_dir() or shutil.which("java") is None:
        pytest.skip("s3proxy is not here, or no java; get it with: .ci/servers")
    port, folder = free_port(), tmp_path_factory.mktemp("s3proxy")
    (folder / "data").mkdir()
    (folder / "conf").write_text(
        f"s3proxy.authorization=aws-v2-or-v4\ns3proxy.identity=rootkey\ns3proxy.credential={SECRET}\n"
        f"s3proxy.endpoint=http://127.0.0.1:{port}\njclouds.provider=filesystem-nio2\njclouds.identity=local\n"
        f"jclouds.credential=local\njclouds.filesystem.basedir={folder}/data\n"
    )
    command = ["java", "-Xmx512m", "-cp", f"{jars}/*", "org.gaul.s3proxy.Main", "--properties", str(folder / "conf")]
    with serving(command, answers(f"http://127.0.0.1:{port}/"), folder / "log"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def s3proxy(s3proxy_server: str) -> Place:
    return s3_place(s3proxy_server)
