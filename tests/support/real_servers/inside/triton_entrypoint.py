"""The entry point of a container with Triton, started the way its SageMaker image does.

It serves on ``$SAGEMAKER_BIND_TO_PORT``. The image's Triton lives in /opt/tritonserver; here it comes out of PyTriton's
wheel, and has to be told where its parts are. It must be run by the Python that has PyTriton.
"""

import os
import sys
import sysconfig
from pathlib import Path

VERSION = sysconfig.get_python_version()
PACKAGES = Path(sysconfig.get_path("purelib"))
TRITON = PACKAGES / "pytriton" / "tritonserver"


def backends() -> Path:
    """The backends' directory, where the Python backend finds the stub for this Python."""
    backend = TRITON / "backends" / "python"
    stub = Path("triton_python_backend_stub")
    if not (backend / stub).exists():
        # Made under another name first: another server may be starting.
        made = backend / f"{stub}.{os.getpid()}"
        made.symlink_to(TRITON / "python_backend_stubs" / VERSION / stub)
        made.replace(backend / stub)
    return backend.parent


def main() -> None:
    """Become Triton."""
    # Triton wants a repository. Every model comes by a load from a directory of its own, so this one is for show; it
    # must not be the models' parent, or Triton would take them for its own and unload them.
    repository = Path(sys.prefix) / "no-models"
    repository.mkdir(exist_ok=True)
    arguments = [
        "--allow-sagemaker=true",
        f"--sagemaker-port={os.environ.get('SAGEMAKER_BIND_TO_PORT', '8080')}",
        "--allow-http=false",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--model-control-mode=explicit",
        "--model-namespacing=true",
        f"--model-repository={repository}",
        f"--backend-directory={backends()}",
        "--backend-config=python,shm-default-byte-size=16777216",
        "--backend-config=python,shm-growth-byte-size=1048576",
    ]
    # As the image sets it for many models: one that fails to load must not fail the pings.
    os.environ.setdefault("SAGEMAKER_TRITON_PING_MODE", "live")
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    # The stub ignores PYTHONPATH: its packages are those of the first python3 on the PATH.
    os.environ["PATH"] = f"{sys.prefix}/bin:{os.environ.get('PATH', os.defpath)}"
    os.execv(TRITON / "bin" / "tritonserver", ["tritonserver", *arguments])


if __name__ == "__main__":
    main()
